"""Reads and writes of the Kubernetes API."""
