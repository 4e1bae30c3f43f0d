"""Data sets in host memory, as NumPy arrays."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Split:
    """images (N, C, H, W) uint8, labels (N,) int64 in 0..classes-1."""

    images: Images
    labels: Labels

    def take(self, index: NDArray[np.intp]) -> "Split":
        return Split(self.images[index], self.labels[index])


@dataclass(frozen=True)
class Dataset:
    """Two splits of images of one size. `note` says how the program split them, where the user's files do not."""

    train: Split
    test: Split
    classes: int
    note: str = ""


@dataclass(frozen=True)
class Shape:
    """The sizes of a data set that a net and a schedule depend on."""

    channels: int
    height: int
    width: int
    classes: int
    train_images: int

    @property
    def image(self) -> tuple[int, int, int]:
        """Channels, height and width."""
        return self.channels, self.height, self.width


def as_nchw(images: Images) -> Images:
    """(N, H, W) or (N, H, W, C) -> (N, C, H, W)."""
    images = images[..., None] if images.ndim == 3 else images
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2))
