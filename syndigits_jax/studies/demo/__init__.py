"""The demo on simulated people."""
