"""The randomness of an epoch, drawn at once, and what it does to a minibatch of images."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

INITIALISATION = 0  # epochs count from 1


def generator(seed: int, epoch: int) -> torch.Generator:
    """A CPU generator for one epoch, or for INITIALISATION: a pure function of its arguments, whatever the device."""
    state = np.random.SeedSequence([seed, epoch]).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state >> np.uint64(1)))


@dataclass(frozen=True)
class EpochOrder:
    """Which images make each minibatch of an epoch, and how each is shifted and flipped.

    index (steps, batch) int64; row and column (steps, batch) int64 in 0..2*pad, the corner of the crop in the padded
    image; flip (steps, batch) bool.
    """

    index: Tensor
    row: Tensor
    column: Tensor
    flip: Tensor

    def to(self, device: torch.device) -> "EpochOrder":
        parts = (self.index, self.row, self.column, self.flip)
        return EpochOrder(*(part.to(device) for part in parts))


def draw_order(seed: int, epoch: int, images: int, batch: int, steps: int, pad: int, flip: bool) -> EpochOrder:
    """The order of one epoch, always drawn for the whole of it: a permutation, filled up from its own start."""
    source = generator(seed, epoch)
    whole = -(-images // batch) * batch
    order = torch.randperm(images, generator=source)
    order = torch.cat([order, order[: whole - images]]).view(-1, batch)
    corners = torch.randint(0, 2 * pad + 1, (2, *order.shape), generator=source)
    flips = torch.rand(order.shape, generator=source) < 0.5 if flip else torch.zeros(order.shape, dtype=torch.bool)
    return EpochOrder(order[:steps], corners[0, :steps], corners[1, :steps], flips[:steps])


def crop_and_flip(images: Tensor, row: Tensor, column: Tensor, flip: Tensor, pad: int) -> Tensor:
    """Zero-pad by `pad`, cut each image's own H x W window, mirror where `flip`. He et al. 2015, section 4.2.

    images (N, C, H, W); row, column (N,) int64 in 0..2*pad; flip (N,) bool -> (N, C, H, W).
    """
    count, channels, height, width = images.shape
    device = images.device
    y = row[:, None] + torch.arange(height, device=device)
    x = torch.arange(width, device=device).expand(count, width)
    x = column[:, None] + torch.where(flip[:, None], width - 1 - x, x)
    padded = F.pad(images, (pad, pad, pad, pad))
    n = torch.arange(count, device=device)[:, None, None, None]
    c = torch.arange(channels, device=device)[None, :, None, None]
    return padded[n, c, y[:, None, :, None], x[:, None, None, :]]
