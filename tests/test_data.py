"""Where images come from: splits, subsets, a user's own files, and downloads good and bad."""

import hashlib
import pickle

import numpy as np
import pytest
import torch
from conftest import write_folder, write_npz
from downloads import offer_cifar10, serving

from resdepth.config.schema import DataConfig
from resdepth.data import sources
from resdepth.errors import DataError


def test_digits_are_a_fixed_stratified_split():
    data = sources.load(DataConfig(name="digits"))
    assert data.train.images.shape == (1437, 1, 8, 8)
    assert data.test.images.shape == (360, 1, 8, 8)
    assert (data.train.images.min(), data.train.images.max()) == (0, 255)
    shares = np.bincount(data.train.labels) / np.bincount(np.r_[data.train.labels, data.test.labels])
    assert np.allclose(shares, 0.8, atol=0.005)
    # One fixed split: its content, not only its size. Another one would not be comparable with published results.
    assert hashlib.sha256(data.test.images.tobytes()).hexdigest()[:16] == "ac6ada28192bd51a"


def test_limit_takes_a_class_balanced_subset_of_both_splits():
    data = sources.load(DataConfig(limit=100))
    assert set(np.bincount(data.train.labels)) == {10}
    assert set(np.bincount(data.test.labels)) == {10}
    odd = sources.load(DataConfig(limit=103))
    assert set(np.bincount(odd.train.labels)) == {10, 11}


def test_validation_holds_out_training_images_in_place_of_the_test_split():
    whole, held = sources.load(DataConfig()), sources.load(DataConfig(validation=200))
    assert (len(held.train.labels), len(held.test.labels)) == (1237, 200)
    rows = {image.tobytes() for image in whole.train.images}
    assert all(image.tobytes() in rows for image in held.test.images)
    together = np.concatenate([held.train.images, held.test.images])
    assert sorted(i.tobytes() for i in together) == sorted(i.tobytes() for i in whole.train.images)


def test_holding_out_everything_is_refused():
    with pytest.raises(DataError, match=r"data\.validation=1437.*at most 1435"):
        sources.load(DataConfig(validation=1437))


@pytest.mark.parametrize("source", ["cifar10", "mnist"])
def test_planning_a_published_data_set_downloads_nothing(source, tmp_path):
    shape = sources.shape(DataConfig(source=source, root=str(tmp_path), validation=5000, limit=20_000))
    assert (shape.classes, shape.train_images) == (10, 20_000)
    assert not list(tmp_path.iterdir())


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


def test_cifar10_is_downloaded_checked_and_read(tmp_path, monkeypatch):
    with serving() as server:
        files = offer_cifar10(monkeypatch, server)
        data = sources.load(DataConfig(source="cifar10", root=str(tmp_path / "root")))
    first = pickle.loads(files["data_batch_1"])
    assert data.train.images.shape == (100, 3, 32, 32)
    assert np.array_equal(data.train.images[:20], first["data"].reshape(20, 3, 32, 32))
    assert data.train.labels[:20].tolist() == first["labels"]
    assert data.test.images.shape == (20, 3, 32, 32)


def test_images_stay_bytes_and_are_shared_with_torch(tmp_path, images):
    split = sources.load(write_npz(tmp_path / "a.npz", images)).train
    assert split.images.dtype == np.uint8
    assert torch.from_numpy(split.images).shape == (60, 3, 8, 8)
