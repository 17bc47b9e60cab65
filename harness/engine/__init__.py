"""The only home of torch and transformers."""
