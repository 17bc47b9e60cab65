"""Data only: suites, baselines and the built-in sample corpus; knows no code of the harness."""
