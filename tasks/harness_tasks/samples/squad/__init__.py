"""Data only: sample files of SQuAD."""
