"""Decisions on Jobs: training and batch scoring."""
