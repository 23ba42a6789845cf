"""Events of the cluster, and the keys that they concern."""
