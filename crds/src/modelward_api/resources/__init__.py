"""The kinds of the API: their fields, their defaults, their rules."""
