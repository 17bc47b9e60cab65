"""Data only: sample files of XQuAD."""
