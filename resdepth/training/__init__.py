"""How a net is trained: the schedule, the step, the loop over epochs, the checkpoint."""
