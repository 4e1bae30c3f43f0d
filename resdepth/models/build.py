"""Construction of initialised nets."""

import math
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import nn

from resdepth.config.schema import ModelConfig
from resdepth.errors import ConfigError
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


def require_join(variant: str, model: ModelConfig, dtype: torch.dtype) -> None:
    """Raises ConfigError unless a variant's join returns z's shape and type, and a small net of it can be trained."""
    is_dense = model.architecture == "dense"
    shape = (2, 3) if is_dense else (2, 3, 4, 4)
    rule = "it takes z and a, tensors of one shape, and returns a tensor of that shape and type"
    small = replace(model, widths=[2] * len(model.widths)) if is_dense else replace(model, width=2)
    try:
        joined = VARIANTS[variant].join(*torch.ones(2, *shape, dtype=dtype))
        is_tensor = isinstance(joined, torch.Tensor)
        is_right = is_tensor and (tuple(joined.shape), joined.dtype) == (shape, dtype)
        if is_right:
            net = build(model.min_depth, variant, small, (1, 8, 8), 2, torch.Generator())
            net(torch.ones(2, 1, 8, 8)).sum().backward()
    except Exception as error:  # of a user's code, and torch raises many kinds
        line = (str(error).strip().splitlines() or [""])[0]
        raise ConfigError("variant", variant, f"its join fails ({type(error).__name__}: {line}); {rule}") from error
    if not is_right:
        found = _describe(joined.shape, joined.dtype) if is_tensor else type(joined).__name__
        raise ConfigError("variant", variant, f"its join returns {found} for {_describe(shape, dtype)}; {rule}")


def _describe(shape: Sequence[int], dtype: torch.dtype) -> str:
    return f"{str(dtype).removeprefix('torch.')} of shape {tuple(shape)}"


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
