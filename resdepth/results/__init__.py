"""A run's directory, written and read."""
