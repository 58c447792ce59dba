"""The demonstration on simulated people."""
