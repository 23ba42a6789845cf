"""The protocol over REST."""
