"""Personas from surveys, histories and attributes."""
