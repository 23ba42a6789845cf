"""Drift of a model's input and score."""
