"""One script per claim. Run from the repository root: `python -m benchmarks.NAME --help`."""
