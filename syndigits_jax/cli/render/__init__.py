"""Output of the commands: tables, figures and progress."""
