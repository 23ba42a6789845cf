"""Files that are generated from the API's models."""
