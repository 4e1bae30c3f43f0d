"""Results as numbers and figures."""
