"""Data only: MLQA's test set, question and passage in one language."""
