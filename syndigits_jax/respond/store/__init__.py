"""Storage and export of responses."""
