"""What all decisions share."""
