"""From ratings and personas to the distances between two populations."""
