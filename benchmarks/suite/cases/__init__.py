"""The cases: each file holds the kernels of one kind."""
