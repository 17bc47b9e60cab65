"""Data only: sample files of MLQA."""
