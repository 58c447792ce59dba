"""The published studies, our own, and the demo."""
