"""Who may ask: callers, the operator, and TLS."""
