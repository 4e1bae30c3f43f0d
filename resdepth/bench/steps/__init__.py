"""What a training step costs: time and memory, lower bounds, and the usual loop for comparison."""
