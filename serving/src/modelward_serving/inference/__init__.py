"""Handling of one request, independent of its protocol."""
