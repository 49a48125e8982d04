"""Scores to numbers one can trust: protocol, metrics, clustered intervals, report."""
