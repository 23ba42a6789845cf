"""Decisions of the operator about itself: who leads, and which key signs."""
