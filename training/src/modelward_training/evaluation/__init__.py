"""How good a model is, as a whole and in subgroups."""
