"""Where images come from: splits, subsets, a user's own files, and downloads good and bad."""

import functools
import hashlib
import http.server
import io
import pickle
import socket
import tarfile
import threading

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import datasets

from resdepth.config import DataConfig
from resdepth.data import sources
from resdepth.errors import DataError


def write_folder(root, arrays):
    """The arrays as an ImageFolder tree, named by their place, classes by letter."""
    for split in ("train", "test"):
        for i, (image, label) in enumerate(zip(arrays[f"x_{split}"], arrays[f"y_{split}"], strict=True)):
            folder = root / split / "abc"[label]
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(folder / f"{i:03d}.png")
    return DataConfig(name="folder", source="folder", path=str(root))


def write_npz(path, arrays):
    np.savez(path, **arrays)
    return DataConfig(name="npz", source="npz", path=str(path))


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


def spoil(images, **changes):
    return {**images, **changes}


BAD_NPZ = {
    "lacks x_test": lambda a: {k: v for k, v in a.items() if k != "x_test"},
    "pickled objects": lambda a: spoil(a, y_train=np.array(a["y_train"], dtype=object)),
    "x_train has shape": lambda a: spoil(a, x_train=a["x_train"][:, 0, 0]),
    "y_train has shape": lambda a: spoil(a, y_train=a["y_train"][:-1]),
    "whole numbers": lambda a: spoil(a, y_train=a["y_train"] + 0.5),
    "a label is -1": lambda a: spoil(a, y_train=a["y_train"] - 1),
    "has no training image": lambda a: spoil(a, y_train=a["y_train"] * 2),
    "y_test a 7": lambda a: spoil(a, y_test=np.full(15, 7)),
    "pixels from -5": lambda a: spoil(a, x_train=a["x_train"].astype(int) - 5 - a["x_train"].min()),
    "pixels from nan": lambda a: spoil(a, x_train=np.full(a["x_train"].shape, np.nan)),
    "different shapes": lambda a: spoil(a, x_test=a["x_test"][:, :4]),
    "channels first": lambda a: spoil(a, x_train=np.zeros((60, 3, 8, 8), dtype=np.uint8)),
    "none of them 0": lambda a: spoil(a, x_train=a["x_train"][:0], y_train=a["y_train"][:0]),
}


@pytest.mark.parametrize("message", BAD_NPZ)
def test_a_bad_npz_is_refused_in_one_line(tmp_path, images, message):
    needle = "is no .npz of plain arrays" if message == "pickled objects" else message
    with pytest.raises(DataError) as caught:
        sources.load(write_npz(tmp_path / "bad.npz", BAD_NPZ[message](images)))
    assert needle in str(caught.value)
    assert "\n" not in str(caught.value)


def truncated(images):
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **images)
    return buffer.getvalue()[:-200]


def flipped(images):
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **images)
    content = bytearray(buffer.getvalue())
    content[200:240] = bytes(40)
    return bytes(content)


def one_array(images):
    buffer = io.BytesIO()
    np.save(buffer, images["x_train"])
    return buffer.getvalue()


@pytest.mark.parametrize("content", [lambda _: b"not a zip file", lambda _: b"", truncated, flipped, one_array])
def test_a_file_that_is_no_npz_is_refused(tmp_path, images, content):
    (tmp_path / "a.npz").write_bytes(content(images))
    with pytest.raises(DataError, match=r"is no \.npz of plain arrays"):
        sources.load(DataConfig(source="npz", path=str(tmp_path / "a.npz")))


def corrupt(root):
    (root / "train" / "a" / "000.png").write_bytes(b"\x89PNG broken")


def resize_one(root):
    Image.new("RGB", (9, 8)).save(root / "train" / "a" / "000.png")


def add_class(root):
    (root / "test" / "d").mkdir()
    Image.new("RGB", (8, 8)).save(root / "test" / "d" / "000.png")


def empty_class(root):
    (root / "train" / "d").mkdir()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (corrupt, "000.png: is no readable image"),
        (resize_one, "images differ in size"),
        (add_class, "only one has d"),
        (empty_class, "Found no valid file for the classes d"),
    ],
)
def test_a_bad_folder_is_refused_in_one_line(tmp_path, images, damage, message):
    config = write_folder(tmp_path, images)
    damage(tmp_path)
    with pytest.raises(DataError) as caught:
        sources.load(config)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


# --- torchvision, from an archive in CIFAR's own format that a server on this machine hands out


def cifar_archive(random):
    """cifar-10-python.tar.gz with 20 images a batch, and the MD5 sums torchvision would know it by."""
    files, names = {}, [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]
    for name in names:
        data = random.integers(0, 256, (20, 3072)).astype(np.uint8)
        files[name] = pickle.dumps({"data": data, "labels": [i % 10 for i in range(20)]})
    files["batches.meta"] = pickle.dumps({"label_names": [f"class{i}" for i in range(10)]})
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    sums = {name: hashlib.md5(content).hexdigest() for name, content in files.items()}
    return buffer.getvalue(), files, sums


@pytest.fixture
def cifar(tmp_path, monkeypatch):
    """torchvision's CIFAR10 pointed at a server on this machine; yields what is served and the files inside."""
    archive, files, sums = cifar_archive(np.random.default_rng(0))
    served = tmp_path / "served"
    served.mkdir()
    (served / "cifar.tar.gz").write_bytes(archive)
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(served))
    handler.log_message = lambda *_: None
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    kind = datasets.CIFAR10
    monkeypatch.setattr(kind, "url", f"http://127.0.0.1:{server.server_port}/cifar.tar.gz")
    monkeypatch.setattr(kind, "filename", "cifar.tar.gz")
    monkeypatch.setattr(kind, "tgz_md5", hashlib.md5(archive).hexdigest())
    monkeypatch.setattr(kind, "train_list", [[f"data_batch_{i}", sums[f"data_batch_{i}"]] for i in range(1, 6)])
    monkeypatch.setattr(kind, "test_list", [["test_batch", sums["test_batch"]]])
    monkeypatch.setattr(kind, "meta", {"filename": "batches.meta", "key": "label_names", "md5": sums["batches.meta"]})
    yield served / "cifar.tar.gz", files
    server.shutdown()
    server.server_close()


def test_cifar10_is_downloaded_checked_and_read(tmp_path, cifar):
    _, files = cifar
    data = sources.load(DataConfig(source="cifar10", root=str(tmp_path / "root")))
    first = pickle.loads(files["data_batch_1"])
    assert data.train.images.shape == (100, 3, 32, 32)
    assert np.array_equal(data.train.images[:20], first["data"].reshape(20, 3, 32, 32))
    assert data.train.labels[:20].tolist() == first["labels"]
    assert data.test.images.shape == (20, 3, 32, 32)


def test_a_corrupt_download_is_refused_with_the_ways_out(tmp_path, cifar):
    archive, _ = cifar
    content = bytearray(archive.read_bytes())
    content[len(content) // 2] ^= 0xFF
    archive.write_bytes(content)
    with pytest.raises(DataError, match=r"data=cifar10: .*corrupted.*data=digits") as caught:
        sources.load(DataConfig(source="cifar10", root=str(tmp_path / "root")))
    assert "\n" not in str(caught.value)


def test_a_download_that_is_impossible_names_the_ways_out(tmp_path, monkeypatch):
    with socket.socket() as taken:  # bound and not listening: every connection is refused
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setattr(datasets.CIFAR10, "url", f"http://127.0.0.1:{taken.getsockname()[1]}/x.tar.gz")
        with pytest.raises(DataError, match=r"not to be had.*data\.root=.*data=npz.*data=digits") as caught:
            sources.load(DataConfig(source="cifar10", root=str(tmp_path)))
    assert "\n" not in str(caught.value)


def test_without_download_a_missing_data_set_names_the_ways_out(tmp_path):
    with pytest.raises(DataError, match=r"not to be had"):
        sources.load(DataConfig(source="mnist", root=str(tmp_path), download=False))


def test_images_stay_bytes_and_are_shared_with_torch(tmp_path, images):
    split = sources.load(write_npz(tmp_path / "a.npz", images)).train
    assert split.images.dtype == np.uint8
    assert torch.from_numpy(split.images).shape == (60, 3, 8, 8)
