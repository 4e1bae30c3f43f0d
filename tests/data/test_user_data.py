"""A user's own images, from a .npz file and from a folder."""

import shutil
from hashlib import sha256

import numpy as np
import pytest
import torch
from PIL import Image
from support.images import forget_images, write_folder, write_npz

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


@pytest.fixture
def classes(tmp_path, images):
    """A folder of classes, 60 images in three of them, without train/ and test/."""
    write_folder(tmp_path / "parts", images)
    return (tmp_path / "parts" / "train").rename(tmp_path / "classes")


def load_classes(folder):
    forget_images()
    return sources.load(DataConfig(name="classes", source="folder", path=str(folder)))


def test_a_fifth_of_each_class_of_a_folder_without_train_and_test_is_the_test_set(classes):
    found = load_classes(classes)
    count = np.bincount([len(list(folder.iterdir())) for folder in sorted(classes.iterdir())])
    assert count.sum() == 3
    for label, folder in enumerate(sorted(classes.iterdir())):
        number = len(list(folder.iterdir()))
        assert np.sum(found.test.labels == label) == round(0.2 * number) > 0
        assert np.sum(found.train.labels == label) == number - round(0.2 * number)
    both = {image.tobytes() for image in found.train.images} & {image.tobytes() for image in found.test.images}
    assert both == set()
    assert "12 of 60 images" in found.note


def test_the_split_depends_on_the_file_names_alone(classes, tmp_path):
    first = load_classes(classes)
    copy = tmp_path / "copy"
    for file in sorted(classes.rglob("*.png"), reverse=True):  # written in another order
        (copy / file.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copy(file, copy / file.parent.name)
    second = load_classes(copy)
    for split in ("train", "test"):
        assert np.array_equal(getattr(first, split).images, getattr(second, split).images)
    # A hash of the name, not the first or the last of each class, which may have been taken one after the other.
    expected = set()
    for folder in classes.iterdir():
        files = sorted(folder.iterdir(), key=lambda file: sha256(file.name.encode()).digest())
        expected |= {
            np.asarray(Image.open(file)).transpose(2, 0, 1).tobytes() for file in files[: round(len(files) / 5)]
        }
    assert {image.tobytes() for image in first.test.images} == expected


def test_files_that_are_no_images_and_hidden_folders_are_left_out(classes):
    (classes / "a" / "notes.txt").write_text("none")
    (classes / ".cache").mkdir()
    (classes / "readme.md").write_text("none")
    found = load_classes(classes)
    assert (found.classes, len(found.train.labels) + len(found.test.labels)) == (3, 60)


def test_data_that_come_split_have_no_note(tmp_path, images):
    assert sources.load(write_folder(tmp_path / "tree", images)).note == ""
    assert sources.load(write_npz(tmp_path / "a.npz", images)).note == ""
