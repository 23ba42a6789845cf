"""A bundle: fetched, verified, loaded, asked."""
