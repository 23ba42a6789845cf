"""One reconcile: observe, decide, apply."""
