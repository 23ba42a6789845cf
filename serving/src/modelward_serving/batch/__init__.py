"""Batch scoring: files of rows, scored by the same model and under the same rules as requests."""
