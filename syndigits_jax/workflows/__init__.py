"""What the commands do with a user's own files, callable from Python."""
