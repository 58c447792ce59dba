"""What an answer says: from text or probabilities to a value and a status."""
