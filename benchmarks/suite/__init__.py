"""One command for everything that is claimed about speed: `python -m benchmarks`."""
