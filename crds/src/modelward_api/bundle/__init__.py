"""What a bundle holds beside its graph."""
