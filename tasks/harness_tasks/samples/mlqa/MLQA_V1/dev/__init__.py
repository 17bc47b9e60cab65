"""Data only: MLQA's development set, question and passage in one language."""
