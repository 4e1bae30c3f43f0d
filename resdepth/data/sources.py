"""Where images come from: every source as two splits of uint8 images. NumPy; torchvision when it is needed.

To add a data set: an entry in LOADERS (and in `config.SOURCES`), a file in configs/data, and a recipe of the same name.
"""

import http.client
import io
import pickle
import socket
import sys
import tarfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, redirect_stderr, suppress
from dataclasses import replace
from functools import lru_cache
from hashlib import sha256
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from resdepth.config.checks import expand_path
from resdepth.config.schema import OWN_SOURCES, DataConfig
from resdepth.data.dataset import Dataset, Labels, Shape, Split, as_nchw
from resdepth.data.user_data import load_folder, load_npz
from resdepth.errors import DataError

# The published sizes, so that planning need not download: (channels, height, width, classes, training images).
_KNOWN = {
    "digits": Shape(1, 8, 8, 10, 1_437),
    "cifar10": Shape(3, 32, 32, 10, 50_000),
    "cifar100": Shape(3, 32, 32, 100, 50_000),
    "mnist": Shape(1, 28, 28, 10, 60_000),
    "fashion_mnist": Shape(1, 28, 28, 10, 60_000),
}
# What torchvision raises where a server, an archive or a file in it is not what it should be.
_NOT_TO_BE_HAD = (
    OSError, RuntimeError, EOFError, AssertionError, ValueError, KeyError, pickle.UnpicklingError,
    http.client.HTTPException, tarfile.TarError, zlib.error,
)  # fmt: skip
_SILENT_SECONDS = 60.0
_TORCHVISION = {"cifar10": "CIFAR10", "cifar100": "CIFAR100", "mnist": "MNIST", "fashion_mnist": "FashionMNIST"}


def load(config: DataConfig) -> Dataset:
    """The data set, `validation` held out and `limit` applied.

    With `validation=N` the held-out images take the place of the test split, which stays unseen. Both choices are
    balanced over the classes and do not depend on a seed. The last two data sets are kept. Raises DataError.
    """
    key = replace(config, name="", fingerprint="")
    if key not in _loaded:
        preload(key, _load(key))
    return _loaded[key]


def preload(config: DataConfig, data: Dataset) -> None:
    """Have `load` return this data set; a process that loaded it hands it to another one so."""
    while len(_loaded) >= _MOST_LOADED:
        del _loaded[next(iter(_loaded))]
    _loaded[replace(config, name="", fingerprint="")] = data


_loaded: dict[DataConfig, Dataset] = {}
_MOST_LOADED = 2


def _load(config: DataConfig) -> Dataset:
    whole = LOADERS[config.source](config)
    train, test = whole.train, whole.test
    if config.validation:
        _check_validation(config, len(train.labels))
        held_out = _balanced(train.labels, config.validation)
        train, test = train.take(np.setdiff1d(np.arange(len(train.labels)), held_out)), train.take(held_out)
    if config.limit is not None:
        _check_limit(config, whole.classes)
        train, test = (split.take(_balanced(split.labels, config.limit)) for split in (train, test))
    return Dataset(train, test, whole.classes)


def shape(config: DataConfig) -> Shape:
    """The data set's sizes. A published data set is not downloaded for it."""
    known = _KNOWN.get(config.source)
    if known is not None:
        _check_limit(config, known.classes)
        _check_validation(config, known.train_images)
    if known is None:
        data = load(config)
        count, channels, height, width = data.train.images.shape
        return Shape(channels, height, width, data.classes, count)
    count = known.train_images - config.validation
    count = min(count, config.limit) if config.limit is not None else count
    return Shape(known.channels, known.height, known.width, known.classes, count)


def _check_limit(config: DataConfig, classes: int) -> None:
    if config.limit is not None and config.limit < classes:
        raise DataError("data.limit", config.limit, f"leaves a class without an image; at least {classes}")


def _check_validation(config: DataConfig, images: int) -> None:
    if config.validation > images - 2:
        remedy = f"leaves fewer than 2 training images; at most {images - 2}"
        raise DataError("data.validation", config.validation, remedy)


@lru_cache
def fingerprint(config: DataConfig) -> str:
    """SHA-256 of a user's own images and labels, wherever they lie; empty for data that come by name."""
    if config.source not in OWN_SOURCES:
        return ""
    data = load(config)
    digest = sha256()
    for split in (data.train, data.test):
        digest.update(repr(split.images.shape).encode())
        digest.update(split.images.tobytes())
        digest.update(split.labels.tobytes())
    return digest.hexdigest()


def _balanced(labels: Labels, count: int) -> NDArray[np.intp]:
    """At most `count` indices, in order, with as equal a share of each class as there is: first of each, second, ..."""
    occurrence = np.empty(len(labels), dtype=np.intp)
    for label in np.unique(labels):
        where = np.flatnonzero(labels == label)
        occurrence[where] = np.arange(len(where))
    return np.sort(np.argsort(occurrence, kind="stable")[:count])


def _digits(_: DataConfig) -> Dataset:
    """Scikit-learn's bundled 8x8 digits, 1,797 images; a fixed stratified split of 1,437 and 360."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    pixels, labels = load_digits(return_X_y=True)
    images = np.round(pixels.reshape(-1, 1, 8, 8) * (255 / 16)).astype(np.uint8)
    index = train_test_split(np.arange(len(labels)), test_size=0.2, stratify=labels, random_state=0)
    whole = Split(images, labels.astype(np.int64))
    return Dataset(whole.take(index[0]), whole.take(index[1]), classes=10)


def _torchvision(config: DataConfig) -> Dataset:
    """A data set that torchvision downloads (with its MD5 check) and keeps below `data.root`."""
    from torchvision import datasets

    kind = getattr(datasets, _TORCHVISION[config.source])
    root = expand_path("data.root", config.root)
    try:
        with _downloading():
            parts = [kind(root, train=train, download=config.download) for train in (True, False)]
    except _NOT_TO_BE_HAD as error:
        if config.download:
            _remove_unpacked(root / kind.__name__ / "raw")
        first = " ".join(str(error).split()).rstrip(".")[:160] or type(error).__name__
        raise DataError(
            "data",
            config.source,
            f"not in {root} and not to be had ({first}); go online, or say data.root=FOLDER that holds it, "
            "data=npz data.path=FILE, or data=digits, which needs no download",
        ) from error
    train, test = (Split(as_nchw(np.asarray(p.data)), np.asarray(p.targets, dtype=np.int64)) for p in parts)
    return Dataset(train, test, classes=_KNOWN[config.source].classes)


@contextmanager
def _downloading() -> Iterator[None]:
    """Give up on a server that falls silent; show torchvision's progress bar to a terminal only."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_SILENT_SECONDS)
    try:
        with nullcontext() if sys.stderr.isatty() else redirect_stderr(io.StringIO()):
            yield
    finally:
        socket.setdefaulttimeout(before)


def _remove_unpacked(folder: Path) -> None:
    """Remove what may have been unpacked by half: torchvision checks an MNIST's archives, not its files."""
    for archive in folder.glob("*.gz"):
        with suppress(OSError):
            archive.with_suffix("").unlink(missing_ok=True)


LOADERS: dict[str, Callable[[DataConfig], Dataset]] = {
    "digits": _digits,
    **dict.fromkeys(_TORCHVISION, _torchvision),
    "npz": load_npz,
    "folder": load_folder,
}
