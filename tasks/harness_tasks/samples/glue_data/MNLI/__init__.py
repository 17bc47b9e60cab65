"""Data only: English training and development sets of MultiNLI in GLUE's columns."""
