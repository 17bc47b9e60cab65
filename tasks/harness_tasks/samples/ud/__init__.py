"""Data only: Universal Dependencies treebanks, one folder each, parts of speech without trees."""
