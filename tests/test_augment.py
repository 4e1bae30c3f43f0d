"""The randomness of an epoch and the augmentation, against slow and obvious references."""

import numpy as np
import pytest
import torch

from resdepth.data.augment import draw_order
from resdepth.data.dataset import Dataset, Split
from resdepth.data.device_data import to_device
from resdepth.data.seeding import generator


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


def test_every_image_has_a_shift_and_a_flip_of_its_own():
    order = draw_order(seed=0, epoch=1, images=1000, batch=100, steps=10, pad=4, flip=True)
    assert set(order.row.flatten().tolist()) == set(range(9))
    assert set(order.column.flatten().tolist()) == set(range(9))
    assert 400 < order.flip.sum() < 600
    assert (order.row != order.column).any()
    assert not draw_order(0, 1, 100, 10, 10, pad=4, flip=False).flip.any()


def test_every_minibatch_is_full_and_the_last_is_filled_from_the_start_of_the_permutation():
    order = draw_order(seed=0, epoch=1, images=1437, batch=128, steps=12, pad=0, flip=False).index
    flat = order.flatten()
    assert order.shape == (12, 128)
    assert sorted(flat[:1437].tolist()) == list(range(1437))
    assert torch.equal(flat[1437:], flat[: 12 * 128 - 1437])


def test_a_shorter_last_epoch_is_the_start_of_the_whole_one():
    whole = draw_order(3, 164, 1000, 100, 10, pad=4, flip=True)
    part = draw_order(3, 164, 1000, 100, 4, pad=4, flip=True)
    assert torch.equal(whole.drawn[:4], part.drawn)


def test_an_epochs_order_depends_on_seed_and_epoch_alone():
    def order(seed, epoch):
        torch.rand(7)  # what else happens in the process does not matter
        return draw_order(seed, epoch, 100, 10, 10, pad=0, flip=False).index

    assert torch.equal(order(0, 1), order(0, 1))
    assert not torch.equal(order(0, 1), order(0, 2))
    assert not torch.equal(order(0, 1), order(1, 1))
    assert generator(1, 2).initial_seed() != generator(2, 1).initial_seed()


def resident(images, normalise, pad=0):
    split = Split(images, np.zeros(len(images), dtype=np.int64))
    return to_device(Dataset(split, split, classes=10), normalise, pad, torch.device("cpu"))


def test_per_pixel_mean_is_subtracted_before_padding():
    images = np.random.default_rng(0).integers(0, 256, (50, 3, 8, 8)).astype(np.uint8)
    data = resident(images, "pixel_mean", pad=4)
    assert np.allclose(data.mean.numpy(), images.mean(axis=0) / 255, atol=1e-6)
    order = draw_order(0, 1, 50, 50, 1, pad=4, flip=False)
    x, _ = data.minibatch(order.drawn[0])
    normal = (images[order.index[0]] / 255 - images.mean(axis=0) / 255).astype(np.float32)
    expected = slowly(normal, order.row[0], order.column[0], order.flip[0], 4)
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
