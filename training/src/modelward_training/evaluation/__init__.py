"""Evaluation of a model, as a whole and in subgroups."""
