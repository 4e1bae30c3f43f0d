"""Blocks that leave a net's function as it is, to be inserted into it."""

from collections.abc import Callable
from dataclasses import replace
from typing import cast

import torch
from torch import Tensor, nn

from resdepth.config.schema import ModelConfig
from resdepth.models.batch_norm import BatchNorm
from resdepth.models.build import initialise, zero_branch
from resdepth.models.conv import conv_block
from resdepth.models.dense import dense_block
from resdepth.models.net import Block, Net
from resdepth.variants import VARIANTS

# Means and variances of each channel.
Statistics = tuple[Tensor, Tensor]


def channels_at(net: Net, place: int) -> int:
    """Return the channels or units of the activations after `place` blocks."""
    weight = cast(Block, net.blocks[place - 1]).layer2.weight if place else net.layer.weight
    assert isinstance(weight, Tensor)
    return weight.shape[0]


def activations(net: Net, images: Tensor) -> list[Tensor]:
    """Return the activations before and after every block, in the net's present mode: a list by place."""
    found = [net.enter(images)]
    for block in net.blocks:
        found.append(block(found[-1]))
    return found


def zero_block(model: ModelConfig, variant: str, width: int) -> Block:
    """Return a block whose weights, biases and batch norm's scales and shifts are zero: z[l+2] = 0."""
    block = make_block(model, variant, width)
    for parameter in block.parameters():
        nn.init.zeros_(parameter)
    return block


def dirac_block(model: ModelConfig, variant: str, width: int, statistics: Statistics | None = None) -> Block:
    """Return a block whose layers are identity matrices: of a non-negative a[l], z[l+2] is a[l] up to rounding.

    Batch norm's scale and shift undo its normalisation: by mean zero and variance one in evaluation mode or, with
    `statistics` of the activations, by theirs, so that it is nearly the identity in training mode too. Zagoruyko &
    Komodakis 2017.
    """
    block = make_block(model, variant, width)
    for layer in (block.layer1, block.layer2):
        (nn.init.dirac_ if isinstance(layer, nn.Conv2d) else nn.init.eye_)(layer.weight)  # type: ignore[arg-type]
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    for norm in (block.norm1, block.norm2):
        if isinstance(norm, BatchNorm):
            _undo(norm, statistics or (torch.zeros(width), torch.ones(width)))
    return block


@torch.no_grad()
def _undo(norm: BatchNorm, statistics: Statistics) -> None:
    """Set scale and shift so that batch norm by these statistics is the identity."""
    means, variances = statistics
    assert norm.running_mean is not None
    assert norm.running_var is not None
    norm.running_mean.copy_(means)
    norm.running_var.copy_(variances)
    norm.weight.copy_((variances + norm.eps).sqrt())
    norm.bias.copy_(means)


def resting_block(model: ModelConfig, variant: str, width: int, seed: torch.Generator) -> Block:
    """Return an initialised block whose branch is zero: the identity in a residual net, and free to learn."""
    block = make_block(model, variant, width)
    initialise(block, seed)
    zero_branch(block)
    return block


def grow(net: Net, count: int, make: Callable[[int, int], Block]) -> None:
    """Insert `count` blocks evenly into a net, on its device; `make` gets the place and the channels there."""
    blocks, device = list(net.blocks), next(net.parameters()).device
    after: dict[int, int] = {}
    for i in range(count):
        place = round((i + 1) * len(blocks) / count) if count < len(blocks) else 1 + i % len(blocks)
        after[place] = after.get(place, 0) + 1
    grown = list[nn.Module]()
    for place, block in enumerate(blocks, start=1):
        grown.append(block)
        grown += [make(place, channels_at(net, place)).to(device) for _ in range(after.get(place, 0))]
    net.blocks = nn.ModuleList(grown)


def make_block(model: ModelConfig, variant: str, width: int) -> Block:
    """Return a block of constant width, as PyTorch initialises it; its shortcut is the identity, also with option C."""
    model = replace(model, shortcut="A")
    if model.architecture == "dense":
        return dense_block(width, width, model, VARIANTS[variant])
    return conv_block(width, width, 1, model, VARIANTS[variant])
