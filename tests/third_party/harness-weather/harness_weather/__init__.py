"""Sentences about the weather, for the harness."""
