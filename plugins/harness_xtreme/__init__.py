"""XTREME's target tasks; one module and one entry point per task."""
