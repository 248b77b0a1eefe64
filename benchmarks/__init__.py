"""Benchmarks: each prints JSON and compares in one run."""
