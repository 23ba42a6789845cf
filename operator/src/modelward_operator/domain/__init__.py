"""Decisions: pure functions on frozen values, with the clock as an argument."""
