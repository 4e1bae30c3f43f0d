"""Conv nets of 6n+2 layers, plain and residual, which differ in `join` alone. He et al. 2015, section 4.2."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resdepth.config.schema import ModelConfig
from resdepth.models.batch_norm import BatchNorm2d
from resdepth.models.shortcuts import build_shortcut
from resdepth.models.size import blocks_per_stage
from resdepth.variants import Variant

_POOLINGS: dict[str, Callable[..., nn.Module]] = {"max": nn.MaxPool2d, "avg": nn.AvgPool2d}


class Block(nn.Module):
    """Two layers: a[l+2] = g(join(z[l+2], a[l])), where join is z + a in a residual net and z in a plain one.

    x (N, C, H, W) -> (N, out_channels, ceil(H/stride), ceil(W/stride)). He et al. 2015, equation 1 and figure 2.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int, model: ModelConfig, variant: Variant) -> None:
        super().__init__()
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 and model.downsample != "stride":
            # ceil_mode halves an odd map as the strided convolution does: 7 -> 4.
            self.downsample, stride = _POOLINGS[model.downsample](stride, ceil_mode=True), 1
        self.conv1, self.norm1 = _layer(in_channels, out_channels, stride, model)
        self.conv2, self.norm2 = _layer(out_channels, out_channels, 1, model)
        self.shortcut: nn.Module = nn.Identity()
        if variant.has_shortcut:
            self.shortcut = build_shortcut(model.shortcut, in_channels, out_channels, stride, model.batch_norm)
        self.join = variant.join

    def forward(self, a: Tensor) -> Tensor:
        a = self.downsample(a)
        # In place where nothing else uses the rectifier's input.
        z = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(a)), inplace=True)))
        return F.relu(self.join(z, self.shortcut(a)))


class ConvNet(nn.Module):
    """A first layer, three stages of n blocks with `width`, 2 `width`, 4 `width` channels, mean pooling, a classifier.

    x (N, channels, H, W) float -> logits (N, classes). The convolutions may be bfloat16; pooling, classifier and logits
    stay float32.
    """

    def __init__(self, depth: int, variant: Variant, model: ModelConfig, channels: int, classes: int) -> None:
        super().__init__()
        self.conv, self.norm = _layer(channels, model.width, 1, model)
        blocks, before = [], model.width
        for stage in range(3):
            filters = model.width * 2**stage
            for i in range(blocks_per_stage(depth)):
                blocks.append(Block(before, filters, 2 if stage and i == 0 else 1, model, variant))
                before = filters
        self.blocks = nn.ModuleList(blocks)
        self.classifier = nn.Linear(before, classes)
        # Runs a block during training; an engine replaces it to compile blocks or to recompute them in backward.
        self.call_block: Callable[[Block, Tensor], Tensor] = Block.__call__
        # Memory format of the maps; the weights have the same.
        self.memory_format = torch.contiguous_format

    def forward(self, x: Tensor) -> Tensor:
        a = x.to(self.conv.weight.dtype).contiguous(memory_format=self.memory_format)
        if self.memory_format is torch.contiguous_format:
            # Images of one channel are contiguous in both formats; the strides of a view say which is meant.
            a = a.view(a.shape)
        a = F.relu(self.norm(self.conv(a)), inplace=True)
        for block in self.blocks:
            a = self.call_block(block, a) if self.training else block(a)  # type: ignore[arg-type]
        # Not adaptive pooling, whose backward pass is not deterministic on CUDA.
        return self.classifier(a.mean(dim=(2, 3), dtype=self.classifier.weight.dtype))


def _layer(in_channels: int, out_channels: int, stride: int, model: ModelConfig) -> tuple[nn.Conv2d, nn.Module]:
    """Return a 3x3 convolution and its batch norm; without batch norm the convolution has a bias."""
    bias = not model.batch_norm
    conv = nn.Conv2d(in_channels, out_channels, kernel_size=3, stride=stride, padding=1, bias=bias)
    return conv, BatchNorm2d(out_channels) if model.batch_norm else nn.Identity()
