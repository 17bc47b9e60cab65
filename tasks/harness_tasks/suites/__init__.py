"""Suites: which tasks and languages count, as data."""
