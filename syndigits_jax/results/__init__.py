"""Storage of results: files, records, checkpoints, names and progress."""
