"""What explains the model in serving."""
