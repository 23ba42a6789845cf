"""Signed requests to serving pods."""
