"""The model's explainer for serving."""
