"""Minibatches on the device: crop, flip and normalisation, against slow and obvious references."""

import numpy as np
import pytest
import torch

from resdepth.data.augment import draw_order
from resdepth.data.dataset import Dataset, Split
from resdepth.data.device_data import to_device


def slowly(images, row, column, flip, pad):
    """One image at a time, one pixel row at a time, in NumPy."""
    out = np.zeros_like(images)
    for i, image in enumerate(images):
        padded = np.pad(image, ((0, 0), (pad, pad), (pad, pad)))
        height, width = image.shape[1:]
        window = padded[:, row[i] : row[i] + height, column[i] : column[i] + width]
        out[i] = window[:, :, ::-1] if flip[i] else window
    return out


@pytest.mark.parametrize("pad", [0, 1, 4])
@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 8, 8), (2, 5, 7)])
def test_crop_and_flip_equals_the_slow_reference(pad, shape):
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (64, *shape)).astype(np.uint8)
    row, column = random.integers(0, 2 * pad + 1, (2, 64))
    flip = random.random(64) < 0.5
    order = torch.from_numpy(np.stack([np.arange(64), row, column, flip]))
    split = Split(images, np.arange(64))
    data = to_device(Dataset(split, split, classes=64), "none", pad, torch.device("cpu"))
    x, y = data.minibatch(order)
    assert np.array_equal(x.numpy(), slowly(images, row, column, flip, pad).astype(np.float32) / np.float32(255))
    assert x.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(y, order[0])


def resident(images, normalise, pad=0):
    split = Split(images, np.zeros(len(images), dtype=np.int64))
    return to_device(Dataset(split, split, classes=10), normalise, pad, torch.device("cpu"))


def test_per_pixel_mean_is_subtracted_before_padding():
    images = np.random.default_rng(0).integers(0, 256, (50, 3, 8, 8)).astype(np.uint8)
    data = resident(images, "pixel_mean", pad=4)
    assert np.allclose(data.mean.numpy(), images.mean(axis=0) / 255, atol=1e-6)
    order = draw_order(0, 1, 50, 50, 1, pad=4, flip=False)[0]
    x, _ = data.minibatch(order)
    index, row, column, flip = order
    normal = (images[index] / 255 - images.mean(axis=0) / 255).astype(np.float32)
    expected = slowly(normal, row, column, flip, 4)
    assert np.allclose(x.numpy(), expected, atol=1e-6)


def test_channel_statistics_make_each_channel_standard():
    images = np.random.default_rng(0).integers(0, 200, (50, 3, 8, 8)).astype(np.uint8)
    images[:, 1] //= 3
    data = resident(images, "channel")
    x = data.normalise(data.train.images)
    assert torch.allclose(x.mean(dim=(0, 2, 3)), torch.zeros(3), atol=1e-5)
    assert torch.allclose(x.std(dim=(0, 2, 3), correction=0), torch.ones(3), atol=1e-5)


def test_no_normalisation_only_scales():
    images = np.full((4, 1, 8, 8), 255, dtype=np.uint8)
    assert torch.equal(resident(images, "none").normalise(torch.from_numpy(images)), torch.ones(4, 1, 8, 8))
