"""Measurements: ours and the peer in one run, as ratios. Never part of the tests."""
