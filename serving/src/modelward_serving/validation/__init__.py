"""Validation of requests against the model's signature."""
