"""How often the evidence is wrong, and how soon it is right: simulated rollouts, against the rules that others decide by."""
