"""The operator before a real API server."""
