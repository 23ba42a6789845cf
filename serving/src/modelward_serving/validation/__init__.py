"""Requests held against the model's signature."""
