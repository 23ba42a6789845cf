"""The parts that all decisions share."""
