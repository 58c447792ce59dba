"""What the commands do with a user's own files, as functions of Python."""
