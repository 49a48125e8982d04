"""Experiments of several runs, each as one command."""
