"""Data only: PAN-X named entities as XTREME has them, a word and its tag a line."""
