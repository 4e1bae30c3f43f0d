"""Construction of initialised nets."""

import math

import torch
from torch import nn

from resdepth.config.schema import ModelConfig
from resdepth.models.batch_norm import BatchNorm
from resdepth.models.conv import ConvNet
from resdepth.models.dense import FullyConnectedNet
from resdepth.models.net import Block, Net
from resdepth.models.size import Image
from resdepth.variants import VARIANTS


def build(depth: int, variant: str, model: ModelConfig, image: Image, classes: int, seed: torch.Generator) -> Net:
    """Return the net of this depth and variant, initialised on the CPU from `seed`, a CPU generator.

    Weights are normal with variance 2 / fan-in, biases zero, batch norm the identity. He et al. 2015b, equation 10.
    """
    net: Net
    if model.architecture == "dense":
        net = FullyConnectedNet(depth, VARIANTS[variant], model, math.prod(image), classes)
    else:
        net = ConvNet(depth, VARIANTS[variant], model, image[0], classes)
    initialise_net(net, variant, model, seed)
    return net


def initialise_net(net: Net, variant: str, model: ModelConfig, seed: torch.Generator) -> None:
    """Draw the weights of a net; with `zero_init_residual`, its blocks start as the identity where it has shortcuts."""
    initialise(net, seed)
    if model.zero_init_residual and VARIANTS[variant].has_shortcut:
        for block in net.blocks:
            zero_branch(block)  # type: ignore[arg-type]


def initialise(module: nn.Module, seed: torch.Generator) -> None:
    """Draw the weights of all layers of a module from `seed` and set their biases to zero. He et al. 2015b."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=seed)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def zero_branch(block: Block) -> None:
    """Make z[l+2] zero, so that a residual block starts as the identity, g(0 + a[l]) = a[l]. Goyal et al. 2017, 5.1."""
    last = block.norm2 if isinstance(block.norm2, BatchNorm) else block.layer2
    nn.init.zeros_(last.weight)  # type: ignore[arg-type]
