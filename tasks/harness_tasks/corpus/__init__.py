"""Data only: the hand-written parallel sentences, passages and lexicon in six languages."""
