"""Whether a model's input, or its score, has drifted."""
