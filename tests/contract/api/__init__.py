"""The CRDs in a real API server."""
