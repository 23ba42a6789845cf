"""One request, whichever protocol it came over."""
