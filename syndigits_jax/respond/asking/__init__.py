"""What is asked of whom, in which order, and what it costs."""
