"""Conv nets of 6n+2 layers, plain and residual, which differ in `join` alone. He et al. 2015, section 4.2."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from resdepth.config.schema import ModelConfig
from resdepth.models.batch_norm import BatchNorm
from resdepth.models.net import Block, Layer, Net
from resdepth.models.shortcuts import ZeroPad, build_shortcut
from resdepth.models.size import stages
from resdepth.variants import Variant

_POOLINGS: dict[str, Callable[..., nn.Module]] = {"max": nn.MaxPool2d, "avg": nn.AvgPool2d}


class ConvNet(Net):
    """A 3x3 layer, three stages of n blocks with `width`, 2 `width`, 4 `width` channels, mean pooling, a classifier.

    x (N, channels, H, W) float -> logits (N, classes). The second and third stage halve the sides of the maps.
    """

    def __init__(self, depth: int, variant: Variant, model: ModelConfig, channels: int, classes: int) -> None:
        blocks = []
        for number, stage in enumerate(stages(depth, model)):
            blocks.append(conv_block(stage.before, stage.width, 2 if number else 1, model, variant))
            blocks += [conv_block(stage.width, stage.width, 1, model, variant) for _ in range(stage.blocks - 1)]
        super().__init__(
            _layer(channels, model.width, 1, model), blocks, nn.Linear(stages(depth, model)[-1].width, classes)
        )

    def prepare(self, x: Tensor) -> Tensor:
        a = x.to(self.layer.weight.dtype).contiguous(memory_format=self.memory_format)  # type: ignore[arg-type]
        # Images of one channel are contiguous in both formats; the strides of a view say which is meant.
        return a.view(a.shape) if self.memory_format is torch.contiguous_format else a

    def features(self, a: Tensor) -> Tensor:
        # Not adaptive pooling, whose backward pass is not deterministic on CUDA.
        return a.mean(dim=(2, 3), dtype=self.classifier.weight.dtype)  # type: ignore[arg-type]


def conv_block(in_channels: int, out_channels: int, stride: int, model: ModelConfig, variant: Variant) -> Block:
    """Return a block of two 3x3 layers: (N, C, H, W) -> (N, out_channels, ceil(H/stride), ceil(W/stride))."""
    downsample: nn.Module | None = None
    if stride != 1 and model.downsample != "stride":
        # ceil_mode halves an odd map as the strided convolution does: 7 -> 4.
        downsample, stride = _POOLINGS[model.downsample](stride, ceil_mode=True), 1
    first = _layer(in_channels, out_channels, stride, model)
    second = _layer(out_channels, out_channels, 1, model)
    shortcut: nn.Module = nn.Identity()
    if variant.has_shortcut:
        shortcut = build_shortcut(
            model.shortcut,
            lambda: ZeroPad(in_channels, out_channels, stride),
            lambda: _projection(in_channels, out_channels, stride, model),
            changes_shape=in_channels != out_channels or stride != 1,
        )
    return Block(first, second, shortcut, variant, downsample)


def _layer(in_channels: int, out_channels: int, stride: int, model: ModelConfig) -> Layer:
    """Return a 3x3 convolution and its batch norm; without batch norm the convolution has a bias."""
    bias = not model.batch_norm
    conv = nn.Conv2d(in_channels, out_channels, kernel_size=3, stride=stride, padding=1, bias=bias)
    return conv, BatchNorm(out_channels) if model.batch_norm else nn.Identity()


def _projection(in_channels: int, out_channels: int, stride: int, model: ModelConfig) -> nn.Module:
    """Options B, C: Ws of equation 2, 1x1. (N, C, H, W) -> (N, out_channels, ceil(H/stride), ceil(W/stride))."""
    conv = nn.Conv2d(in_channels, out_channels, kernel_size=1, stride=stride, bias=not model.batch_norm)
    return nn.Sequential(conv, BatchNorm(out_channels)) if model.batch_norm else conv
