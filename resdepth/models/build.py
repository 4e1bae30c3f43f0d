"""From a configuration to an initialised net."""

import torch
from torch import nn

from resdepth.config.schema import ModelConfig
from resdepth.models.conv import ConvNet
from resdepth.variants import VARIANTS


def build(depth: int, variant: str, model: ModelConfig, channels: int, classes: int, seed: torch.Generator) -> ConvNet:
    """The net of this depth and variant, initialised from `seed`, a CPU generator, on the CPU."""
    net = ConvNet(depth, VARIANTS[variant], model, channels, classes)
    initialise(net, seed)
    if model.zero_init_residual and VARIANTS[variant].has_shortcut:
        zero_init_residual(net)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            # With a fixed momentum the count is not used, and it costs one kernel a layer and step.
            module.num_batches_tracked = None
    return net


@torch.no_grad()
def initialise(net: nn.Module, seed: torch.Generator) -> None:
    """Weights normal with variance 2 / fan-in, biases zero, batch norm the identity. He et al. 2015b, equation 10."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=seed)
            if module.bias is not None:
                module.bias.zero_()


@torch.no_grad()
def zero_init_residual(net: ConvNet) -> None:
    """Silence every block's branch, z[l+2] = 0, so that it passes on g(a[l]) = a[l]. Goyal et al. 2017, section 5.1."""
    for block in net.blocks:
        last = block.norm2 if isinstance(block.norm2, nn.BatchNorm2d) else block.conv2
        nn.init.zeros_(last.weight)  # type: ignore[arg-type,union-attr]
