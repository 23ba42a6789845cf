"""Effects: the cluster, the pods, the loop that observes, decides and applies."""
