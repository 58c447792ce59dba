"""Prediction-powered inference: few people's answers and many twins', with intervals that hold."""
