"""A run's directory: one module per file in it, and every run below a folder as one table."""
