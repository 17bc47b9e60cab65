"""Data only: Tatoeba sentence pairs, two aligned text files per language."""
