"""What happens in the cluster, and the keys that it concerns."""
