"""Routing: which version answers a request, and requests to challengers."""
