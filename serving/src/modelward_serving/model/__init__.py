"""The model of a bundle: fetch, verify, load, predict, explain."""
