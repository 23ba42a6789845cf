"""Connections: HTTP/1.1 and HTTP/2 with their limits."""
