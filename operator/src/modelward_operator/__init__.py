"""Modelward's Kubernetes operator."""
