"""Interpretation of answers: from text or probabilities to a value and a status."""
