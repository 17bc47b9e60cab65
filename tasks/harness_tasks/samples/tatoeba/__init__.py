"""Data only: sample files of Tatoeba retrieval."""
