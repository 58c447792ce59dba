"""Prompt templates and their rendering for a persona and a question."""
