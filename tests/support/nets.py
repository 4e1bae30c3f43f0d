"""Small nets and the number of their parameters."""

import torch

from resdepth.config.schema import ModelConfig
from resdepth.models.build import build


def small(variant="residual", depth=8, seed=0, channels=3, **model):
    return build(depth, variant, ModelConfig(**model), (channels, 8, 8), 10, torch.Generator().manual_seed(seed))


def count(net):
    return sum(p.numel() for p in net.parameters())
