"""Measurements, each a program with its figures in `results`."""
