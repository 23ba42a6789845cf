"""Serving processes as clients see them."""
