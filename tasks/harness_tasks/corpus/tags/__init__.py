"""Data only: hand-written named entities and parts of speech, marked in the running text."""
