"""Shortcuts: options A, B and C bring a block's input to the shape of its output. He et al. 2015, section 3.3."""

import torch.nn.functional as F
from torch import Tensor, nn

from resdepth.models.batch_norm import BatchNorm2d


class ZeroPad(nn.Module):
    """Option A: subsample by `stride`, then zero-pad the channels evenly on both sides.

    x (N, C, H, W) -> (N, out_channels, ceil(H/stride), ceil(W/stride)); no parameters.
    Raises ValueError if out_channels < C.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        if out_channels < in_channels:
            raise ValueError(f"option A adds channels, it cannot reduce {in_channels} to {out_channels}")
        missing = out_channels - in_channels
        self.stride, self.front, self.back = stride, missing // 2, missing - missing // 2

    def forward(self, a: Tensor) -> Tensor:
        # Of the forms of a[:, :, ::s, ::s] the one whose gradient keeps the memory format, in one kernel.
        a = F.avg_pool2d(a, 1, self.stride) if self.stride > 1 else a
        return F.pad(a, (0, 0, 0, 0, self.front, self.back))


def projection(in_channels: int, out_channels: int, stride: int, batch_norm: bool) -> nn.Module:
    """Options B, C: Ws of equation 2, 1x1. (N, C, H, W) -> (N, out_channels, ceil(H/stride), ceil(W/stride))."""
    conv = nn.Conv2d(in_channels, out_channels, kernel_size=1, stride=stride, bias=not batch_norm)
    return nn.Sequential(conv, BatchNorm2d(out_channels)) if batch_norm else conv


def build_shortcut(option: str, in_channels: int, out_channels: int, stride: int, batch_norm: bool) -> nn.Module:
    """Return the shortcut of one block: the identity where the shape is kept, except for option C."""
    changes_shape = in_channels != out_channels or stride != 1
    if option == "C" or (option == "B" and changes_shape):
        return projection(in_channels, out_channels, stride, batch_norm)
    return ZeroPad(in_channels, out_channels, stride) if changes_shape else nn.Identity()
