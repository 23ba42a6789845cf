"""Modelward's API: custom resources, bundle documents and wire contracts as pydantic models."""
