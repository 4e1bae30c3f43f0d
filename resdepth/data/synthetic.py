"""Random images for timing: on zeros a device draws less power and runs faster."""

import torch

from resdepth.data.dataset import Dataset, Shape, Split
from resdepth.data.seeding import generator


def random_dataset(shape: Shape, images: int) -> Dataset:
    """Return random images (images, C, H, W) uint8, labels (images,) int64: the same for both splits and every call."""
    source, size = generator(0, 0), (images, shape.channels, shape.height, shape.width)
    pixels = torch.randint(0, 256, size, dtype=torch.uint8, generator=source)
    labels = torch.randint(0, shape.classes, (images,), generator=source)
    split = Split(pixels.numpy(), labels.numpy())
    return Dataset(split, split, shape.classes)
