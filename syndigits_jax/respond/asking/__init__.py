"""Plans of requests, their cost, and their collection."""
