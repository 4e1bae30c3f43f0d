"""A data set that lies on the device as one uint8 tensor per split; minibatches are drawn from it by index."""

from dataclasses import dataclass

import torch
from torch import Tensor

from resdepth.config import RecipeConfig
from resdepth.data.augment import EpochOrder, crop_and_flip
from resdepth.data.dataset import Dataset, Split


@dataclass(frozen=True)
class ResidentSplit:
    """images (N, C, H, W) uint8 and labels (N,) int64, on the device."""

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return self.images.shape[0]


@dataclass(frozen=True)
class ResidentData:
    """Both splits, and the training split's statistics: images are (pixels / 255 - mean) / deviation.

    mean (C, H, W) for `pixel_mean`, else (C, 1, 1); deviation (C, 1, 1).
    """

    train: ResidentSplit
    test: ResidentSplit
    classes: int
    mean: Tensor
    deviation: Tensor

    def normalise(self, pixels: Tensor) -> Tensor:
        """Pixels (N, C, H, W) uint8 -> float32 of the same shape."""
        return (pixels.float() / 255 - self.mean) / self.deviation

    def minibatch(self, order: EpochOrder, step: int, recipe: RecipeConfig) -> tuple[Tensor, Tensor]:
        """Minibatch `step` of the epoch, augmented: images (N, C, H, W) float32 channels-last, labels (N,)."""
        index = order.index[step]
        x = self.normalise(self.train.images[index])
        if recipe.pad or recipe.flip:
            # After the mean is subtracted, so that the padding is the mean image.
            x = crop_and_flip(x, order.row[step], order.column[step], order.flip[step], recipe.pad)
        return x.contiguous(memory_format=torch.channels_last), self.train.labels[index]


def reside(data: Dataset, normalise: str, device: torch.device) -> ResidentData:
    """Move a data set to the device and measure the training split there."""
    train, test = _move(data.train, device), _move(data.test, device)
    mean, deviation = _statistics(train.images, normalise)
    return ResidentData(train, test, data.classes, mean, deviation)


def _move(split: Split, device: torch.device) -> ResidentSplit:
    return ResidentSplit(torch.from_numpy(split.images).to(device), torch.from_numpy(split.labels).to(device))


def _statistics(images: Tensor, normalise: str) -> tuple[Tensor, Tensor]:
    channels = images.shape[1]
    ones = torch.ones(channels, 1, 1, device=images.device)
    if normalise == "none":
        return torch.zeros_like(ones), ones
    # In integers, so that the mean does not depend on the order of a float sum.
    mean = images.sum(dim=0, dtype=torch.int64).double() / len(images) / 255
    if normalise == "pixel_mean":
        return mean.float(), ones
    square = torch.zeros(channels, dtype=torch.int64, device=images.device)
    for part in images.split(4096):
        square += part.long().pow(2).sum(dim=(0, 2, 3))
    first = mean.mean(dim=(1, 2))
    second = square.double() / (images.numel() // channels) / 255**2
    deviation = (second - first**2).clamp_min(1e-12).sqrt()
    return first.float().view(-1, 1, 1), deviation.float().view(-1, 1, 1)
