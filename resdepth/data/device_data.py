"""Data sets on the device: one uint8 tensor per split, from which minibatches are read by index."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from resdepth.data.dataset import Dataset, Split


@dataclass(frozen=True)
class DeviceSplit:
    """images (N, C, H, W) uint8, labels (N,) int64, on the device."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return self.images.shape[0]


@dataclass(frozen=True)
class DeviceData:
    """Both splits and the training split's statistics: images are normalised to (pixels / 255 - mean) / deviation.

    mean (C, H, W) for `pixel_mean`, else (C, 1, 1); deviation (C, 1, 1). `padded` holds the training images padded with
    `pad` zeros on each side, one row of C channels per pixel: (N * H' * W', C) uint8. `padded_mean` (H' * W', C) is
    zero in the padding. `row_starts` (H, 1) and `columns` (2, W), mirrored in its second row, are a crop's positions in
    a padded image.
    """

    train: DeviceSplit
    test: DeviceSplit
    classes: int
    mean: Tensor
    deviation: Tensor
    pad: int
    padded: Tensor
    padded_mean: Tensor
    row_starts: Tensor
    columns: Tensor

    @property
    def image(self) -> tuple[int, int, int]:
        """Channels, height and width of an image."""
        _, channels, height, width = self.train.images.shape
        return channels, height, width

    def normalise(self, pixels: Tensor) -> Tensor:
        """Normalise pixels: (N, C, H, W) uint8 -> float32 of the same shape."""
        return (pixels / 255 - self.mean) / self.deviation

    def minibatch(self, order: Tensor) -> tuple[Tensor, Tensor]:
        """Return the minibatch of one step of `draw_order`, cropped and mirrored. He et al. 2015, section 4.2.

        order (4, N) int64 -> images (N, C, H, W) float32, channels-last, and labels (N,) int64. The padding is zero
        after the mean is subtracted.
        """
        index, row, column, _ = order[:, :, None, None]
        x = column + self.columns.index_select(0, order[3])[:, None]
        y = torch.add(self.row_starts, row, alpha=self.columns.shape[1] + 2 * self.pad)
        position = y + x  # (N, H, W), in the flattened padded image
        pixels = self.padded[torch.add(position, index, alpha=len(self.padded_mean))]
        images = (pixels / 255 - self.padded_mean[position]) / self.deviation.flatten()
        return images.permute(0, 3, 1, 2), self.train.labels[order[0]]


def to_device(data: Dataset, normalise: str, pad: int, device: torch.device) -> DeviceData:
    """Copy a data set to the device and compute the statistics of its training split."""
    mean, deviation = (torch.from_numpy(part.astype(np.float32)).to(device) for part in _statistics(data, normalise))
    train, test = _move(data.train, device), _move(data.test, device)
    padded, padded_mean = _pad(train.images, pad), _pad(mean.expand(1, *train.images.shape[1:]), pad)
    height, width = train.images.shape[2:]
    row_starts = torch.arange(height, device=device)[:, None] * (width + 2 * pad)
    columns = torch.arange(width, device=device)
    columns = torch.stack([columns, columns.flip(0)])
    return DeviceData(train, test, data.classes, mean, deviation, pad, padded, padded_mean, row_starts, columns)


def _move(split: Split, device: torch.device) -> DeviceSplit:
    return DeviceSplit(torch.from_numpy(split.images).to(device), torch.from_numpy(split.labels).to(device))


def _pad(images: Tensor, pad: int) -> Tensor:
    """(N, C, H, W) -> (N * H' * W', C): zero-padded, one row per pixel."""
    return F.pad(images, (pad, pad, pad, pad)).permute(0, 2, 3, 1).reshape(-1, images.shape[1])


def _statistics(data: Dataset, normalise: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and deviation of pixels / 255, from integer sums on the host: the same for every device."""
    images = data.train.images
    ones = np.ones((images.shape[1], 1, 1))
    if normalise == "none":
        return np.zeros_like(ones), ones
    if normalise == "pixel_mean":
        return images.sum(axis=0, dtype=np.int64) / len(images) / 255, ones
    counts = np.stack([np.bincount(channel.ravel(), minlength=256) for channel in images.swapaxes(0, 1)])
    shares, values = counts / counts.sum(axis=1, keepdims=True), np.arange(256) / 255
    mean = shares @ values
    deviation = np.sqrt(np.maximum(shares @ values**2 - mean**2, 1e-12))
    return mean.reshape(-1, 1, 1), deviation.reshape(-1, 1, 1)
