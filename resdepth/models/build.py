"""Construction of initialised nets."""

import torch
from torch import nn

from resdepth.config.schema import ModelConfig
from resdepth.models.conv import ConvNet
from resdepth.variants import VARIANTS


def build(depth: int, variant: str, model: ModelConfig, channels: int, classes: int, seed: torch.Generator) -> ConvNet:
    """Return the net of this depth and variant, initialised on the CPU from `seed`, a CPU generator.

    Weights are normal with variance 2 / fan-in, biases zero, batch norm the identity. He et al. 2015b, equation 10.
    """
    net = ConvNet(depth, VARIANTS[variant], model, channels, classes)
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=seed)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    if model.zero_init_residual and VARIANTS[variant].has_shortcut:
        # Every block starts as the identity, g(0 + a[l]) = a[l], by z[l+2] = 0. Goyal et al. 2017, section 5.1.
        for block in net.blocks:
            last = block.norm2 if isinstance(block.norm2, nn.BatchNorm2d) else block.conv2
            nn.init.zeros_(last.weight)  # type: ignore[arg-type,union-attr]
    return net
