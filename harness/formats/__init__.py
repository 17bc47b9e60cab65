"""The formats: what families of tasks share. NumPy only; one module per format."""
