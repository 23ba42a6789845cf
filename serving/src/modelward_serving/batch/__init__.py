"""Batches: files of rows scored by the same model, under the same rules, as requests are."""
