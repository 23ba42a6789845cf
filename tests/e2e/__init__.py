"""The whole path on a real cluster, with a real client that counts."""
