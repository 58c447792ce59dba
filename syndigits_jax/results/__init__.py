"""How results are kept: files, records, checkpoints, names and progress."""
