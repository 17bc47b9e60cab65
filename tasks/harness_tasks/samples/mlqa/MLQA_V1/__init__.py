"""Data only: MLQA's files, by split."""
