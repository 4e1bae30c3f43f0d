"""The named data sets: splits, subsets and downloads."""

import hashlib
import pickle

import numpy as np
import pytest
from support.downloads import offer_cifar10, serving

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


def test_cifar10_is_downloaded_checked_and_read(tmp_path, monkeypatch):
    with serving() as server:
        files = offer_cifar10(monkeypatch, server)
        data = sources.load(DataConfig(source="cifar10", root=str(tmp_path / "root")))
    first = pickle.loads(files["data_batch_1"])
    assert data.train.images.shape == (100, 3, 32, 32)
    assert np.array_equal(data.train.images[:20], first["data"].reshape(20, 3, 32, 32))
    assert data.train.labels[:20].tolist() == first["labels"]
    assert data.test.images.shape == (20, 3, 32, 32)


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "mnist", "fashion_mnist"])
def test_a_data_set_is_missing_until_torchvisions_last_file_is_there(tmp_path, name):
    from torchvision import datasets

    kind = getattr(datasets, sources._TORCHVISION[name])
    config = DataConfig(source=name, root=str(tmp_path))
    assert sources.missing_megabytes(config) > 10
    if hasattr(kind, "base_folder"):
        last = tmp_path / kind.base_folder / kind.test_list[-1][0]
    else:
        last = tmp_path / kind.__name__ / "raw" / kind.resources[-1][0].removesuffix(".gz")
    last.parent.mkdir(parents=True)
    last.touch()
    assert sources.missing_megabytes(config) is None
    assert sources.missing_megabytes(DataConfig()) is None
