"""Data only: hand-written sentence pairs and questions on the passages; first sentences are named by their id."""
