"""A data set that lies on the device as one uint8 tensor per split; minibatches are drawn from it by index."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from resdepth.data.augment import crop_indices
from resdepth.data.dataset import Dataset, Split


@dataclass(frozen=True)
class DeviceSplit:
    """images (N, C, H, W) uint8 and labels (N,) int64, on the device."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return self.images.shape[0]


@dataclass(frozen=True)
class DeviceData:
    """Both splits, and the training split's statistics: images are (pixels / 255 - mean) / deviation.

    mean (C, H, W) for `pixel_mean`, else (C, 1, 1); deviation (C, 1, 1). `padded` holds the training images once more,
    padded by `pad` with zeros, a row of C pixels per position: (N * H' * W', C) uint8; `padded_mean` (H' * W', C) is
    zero where they are.
    """

    train: DeviceSplit
    test: DeviceSplit
    classes: int
    mean: Tensor
    deviation: Tensor
    pad: int
    padded: Tensor
    padded_mean: Tensor

    def normalise(self, pixels: Tensor) -> Tensor:
        """Pixels (N, C, H, W) uint8 -> float32 of the same shape."""
        return (pixels.float() / 255 - self.mean) / self.deviation

    def minibatch(self, drawn: Tensor) -> tuple[Tensor, Tensor]:
        """The minibatch of one step of an EpochOrder, (4, N) int64: images (N, C, H, W) float32, labels (N,).

        Cropped after the mean is subtracted, so that the padding is the mean image. The images are channels-last.
        """
        index, row, column, flip = drawn
        height, width = self.train.images.shape[2:]
        position = crop_indices(row, column, flip, height, width, self.pad)
        pixels = self.padded[index[:, None, None] * len(self.padded_mean) + position]
        x = (pixels.float() / 255 - self.padded_mean[position]) / self.deviation.flatten()
        return x.permute(0, 3, 1, 2), self.train.labels[index]


def to_device(data: Dataset, normalise: str, pad: int, device: torch.device) -> DeviceData:
    """Move a data set to the device, with the statistics of its training split."""
    mean, deviation = (torch.from_numpy(part.astype(np.float32)).to(device) for part in _statistics(data, normalise))
    train, test = _move(data.train, device), _move(data.test, device)
    channels = train.images.shape[1]
    padded = F.pad(train.images, (pad, pad, pad, pad)).permute(0, 2, 3, 1).reshape(-1, channels)
    whole_mean = F.pad(mean.expand(train.images.shape[1:]), (pad, pad, pad, pad))
    padded_mean = whole_mean.permute(1, 2, 0).reshape(-1, channels)
    return DeviceData(train, test, data.classes, mean, deviation, pad, padded, padded_mean)


def _move(split: Split, device: torch.device) -> DeviceSplit:
    return DeviceSplit(torch.from_numpy(split.images).to(device), torch.from_numpy(split.labels).to(device))


def _statistics(data: Dataset, normalise: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and deviation of pixels / 255. From integer sums on the host, so that every device has the same ones."""
    images = data.train.images
    channels = images.shape[1]
    ones = np.ones((channels, 1, 1))
    if normalise == "none":
        return np.zeros_like(ones), ones
    if normalise == "pixel_mean":
        return images.sum(axis=0, dtype=np.int64) / len(images) / 255, ones
    counts = np.stack([np.bincount(images[:, c].ravel(), minlength=256) for c in range(channels)])
    shares, values = counts / counts.sum(axis=1, keepdims=True), np.arange(256) / 255
    mean = shares @ values
    deviation = np.sqrt(np.maximum(shares @ values**2 - mean**2, 1e-12))
    return mean.reshape(-1, 1, 1), deviation.reshape(-1, 1, 1)
