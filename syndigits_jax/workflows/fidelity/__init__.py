"""Fidelity of personas: from ratings to the distances between two populations."""
