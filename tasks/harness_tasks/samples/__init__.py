"""Data only: sample files in the original formats of the tasks, derived from the corpus."""
