"""Where answers are kept, and how they are exported."""
