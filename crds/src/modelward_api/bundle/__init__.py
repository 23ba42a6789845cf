"""Documents of a bundle."""
