"""Random generators as a function of seed and epoch."""

import numpy as np
import torch

INITIALISATION = 0  # epochs count from 1


def generator(seed: int, epoch: int) -> torch.Generator:
    """Return a CPU generator for one epoch, or for INITIALISATION: the same on every device."""
    state = np.random.SeedSequence([seed, epoch]).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state >> np.uint64(1)))
