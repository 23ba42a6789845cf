"""The bundle: its documents, and the archive in the store."""
