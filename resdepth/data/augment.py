"""The randomness of an epoch: the order of its images, their crops and flips."""

import torch
from torch import Tensor

from resdepth.data.seeding import generator


def draw_order(seed: int, epoch: int, images: int, batch: int, steps: int, pad: int, flip: bool) -> Tensor:
    """Draw the minibatches of one epoch and the augmentation of their images: (steps, 4, batch) int64.

    Along dimension 1: the image's index, the row and the column of its crop in the padded image (0..2*pad), and 1 where
    it is mirrored. One tensor, so that a training step reads all of it at once. The indices are a permutation, with the
    last minibatch filled up from its start. A shorter epoch is the beginning of the whole one.
    """
    source = generator(seed, epoch)
    whole = -(-images // batch) * batch
    order = torch.randperm(images, generator=source)
    order = torch.cat([order, order[: whole - images]]).view(-1, batch)
    rows, columns = torch.randint(0, 2 * pad + 1, (2, *order.shape), generator=source)
    flips = torch.rand(order.shape, generator=source) < 0.5 if flip else torch.zeros_like(order)
    return torch.stack([order, rows, columns, flips.long()], dim=1)[:steps]
