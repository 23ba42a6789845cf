"""What operator and serving pods tell each other."""
