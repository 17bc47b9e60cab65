"""English training sets; one module and one entry point per task."""
