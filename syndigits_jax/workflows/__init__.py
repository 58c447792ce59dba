"""The workflows behind the commands, on a user's own files, callable from Python."""
