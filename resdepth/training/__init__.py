"""One net's training."""
