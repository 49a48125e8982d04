"""Samples in POSIX tar shards: write, verify, plan an epoch, read."""
