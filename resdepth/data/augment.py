"""The randomness of an epoch, drawn at once, and what it does to a minibatch of images."""

from dataclasses import dataclass

import torch
from torch import Tensor

from resdepth.data.seeding import generator


@dataclass(frozen=True)
class EpochOrder:
    """Which images make each minibatch of an epoch, and how each is shifted and flipped.

    drawn (steps, 4, batch) int64: index of the image, row and column in 0..2*pad of its crop in the padded image, and 1
    where it is mirrored. One tensor, so that a step reads all of it at once.
    """

    drawn: Tensor

    index = property(lambda self: self.drawn[:, 0])
    row = property(lambda self: self.drawn[:, 1])
    column = property(lambda self: self.drawn[:, 2])
    flip = property(lambda self: self.drawn[:, 3].bool())


def draw_order(seed: int, epoch: int, images: int, batch: int, steps: int, pad: int, flip: bool) -> EpochOrder:
    """The order of one epoch, always drawn for the whole of it: a permutation, filled up from its own start."""
    source = generator(seed, epoch)
    whole = -(-images // batch) * batch
    order = torch.randperm(images, generator=source)
    order = torch.cat([order, order[: whole - images]]).view(-1, batch)
    corners = torch.randint(0, 2 * pad + 1, (2, *order.shape), generator=source)
    flips = torch.rand(order.shape, generator=source) < 0.5 if flip else torch.zeros(order.shape, dtype=torch.bool)
    return EpochOrder(torch.stack([order, corners[0], corners[1], flips.long()], dim=1)[:steps])


def crop_indices(row: Tensor, column: Tensor, flip: Tensor, height: int, width: int, pad: int) -> Tensor:
    """Where each pixel of the augmented images lies in an image padded by `pad`: crop, then mirror where `flip`.

    row, column, flip (N,) int64 -> (N, height, width) int64, positions in the padded image read row by row.
    He et al. 2015, section 4.2.
    """
    y = row[:, None] + torch.arange(height, device=row.device)
    x = torch.arange(width, device=row.device)
    x = column[:, None] + torch.where(flip[:, None] != 0, width - 1 - x, x)
    return y[:, :, None] * (width + 2 * pad) + x[:, None, :]
