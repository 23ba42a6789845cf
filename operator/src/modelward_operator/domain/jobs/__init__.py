"""Decisions on what runs to its end: training and batch scoring."""
