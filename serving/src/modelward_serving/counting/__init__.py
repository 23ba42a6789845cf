"""Counts for drift and evidence, without any value of a patient."""
