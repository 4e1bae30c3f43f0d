"""A user's own images, from a .npz file and from a folder."""

import numpy as np
import pytest
import torch
from support.images import write_folder, write_npz

from resdepth.config.schema import DataConfig
from resdepth.data import sources


def test_npz_and_folder_of_the_same_images_are_the_same_tensors(tmp_path, images):
    npz = sources.load(write_npz(tmp_path / "a.npz", images))
    folder = sources.load(write_folder(tmp_path / "tree", images))
    for split in ("train", "test"):
        one, other = getattr(npz, split), getattr(folder, split)
        assert np.array_equal(one.images, other.images)
        assert np.array_equal(one.labels, other.labels)
    assert npz.train.images.shape == (60, 3, 8, 8)
    assert np.array_equal(npz.train.images[7].transpose(1, 2, 0), images["x_train"][7])


def test_own_data_are_known_by_their_content_not_their_place(tmp_path, images):
    one = write_npz(tmp_path / "a.npz", images)
    same = write_npz(tmp_path / "b.npz", images)
    images["x_train"][0, 0, 0, 0] ^= 1
    other = write_npz(tmp_path / "c.npz", images)
    assert sources.fingerprint(one) == sources.fingerprint(same) != sources.fingerprint(other)
    assert sources.fingerprint(DataConfig()) == ""


@pytest.mark.parametrize("dtype", [np.float32, np.int64])
def test_pixels_of_other_types_become_bytes(tmp_path, images, dtype):
    scale = 255 if dtype == np.float32 else 1
    expected = sources.load(write_npz(tmp_path / "a.npz", images)).train.images
    for split in ("x_train", "x_test"):
        images[split] = (images[split] / scale).astype(dtype)
    assert np.array_equal(sources.load(write_npz(tmp_path / "b.npz", images)).train.images, expected)


def test_a_folders_images_are_resized(tmp_path, images):
    config = write_folder(tmp_path, images)
    loaded = sources.load(DataConfig(name="folder", source="folder", path=config.path, size=16))
    assert loaded.train.images.shape == (60, 3, 16, 16)


def test_images_stay_bytes_and_are_shared_with_torch(tmp_path, images):
    split = sources.load(write_npz(tmp_path / "a.npz", images)).train
    assert split.images.dtype == np.uint8
    assert torch.from_numpy(split.images).shape == (60, 3, 8, 8)
