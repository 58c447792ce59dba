"""Calibrate LLM-simulated people against real ones, in JAX."""

__version__ = "0.1.0"
