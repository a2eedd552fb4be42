"""Benchmarks, each with its peers side by side in one run, printed as ratios: `make bench`."""
