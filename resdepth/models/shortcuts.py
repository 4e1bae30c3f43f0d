"""Shortcuts: options A, B and C bring a block's input to the shape of its output. He et al. 2015, section 3.3."""

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor, nn


class ZeroPad(nn.Module):
    """Option A of conv nets: subsample by `stride`, then zero-pad the channels evenly on both sides.

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


class PadOrTruncate(nn.Module):
    """Option A of dense nets: Ws is the identity with rows of zeros added, or with its last rows left out.

    x (N, inputs) -> (N, outputs); no parameters.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.missing = outputs - inputs

    def forward(self, a: Tensor) -> Tensor:
        # A negative padding truncates.
        return F.pad(a, (0, self.missing))


def build_shortcut(
    option: str, pad: Callable[[], nn.Module], project: Callable[[], nn.Module], *, changes_shape: bool
) -> nn.Module:
    """Return the shortcut of one block: the identity where the shape is kept, except for option C.

    Where it changes, option A makes the parameter-free `pad`, options B and C the learned `project`.
    """
    if option == "C" or (option == "B" and changes_shape):
        return project()
    return pad() if changes_shape else nn.Identity()
