"""Security: authentication of clients and of the operator, and TLS."""
