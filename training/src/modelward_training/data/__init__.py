"""Reading, validating and splitting the data."""
