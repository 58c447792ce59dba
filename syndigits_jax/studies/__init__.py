"""The published studies, further studies, and the demonstration."""
