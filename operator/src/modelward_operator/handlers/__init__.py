"""The edge to kopf: handlers that only enqueue."""
