"""The built-in metrics, brought through the same hook as anybody's; one module per family."""
