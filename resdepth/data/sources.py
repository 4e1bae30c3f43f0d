"""Sources of data sets: each is loaded as two splits of uint8 images. torchvision is imported only where it is needed.

To add one: an entry in LOADERS and in `config.schema.SOURCES`, a file in configs/data, and a recipe of the same name.
"""

import io
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, redirect_stderr, suppress
from dataclasses import replace
from functools import lru_cache
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from resdepth.config.checks import expand_path
from resdepth.config.schema import USER_SOURCES, DataConfig
from resdepth.data.dataset import Dataset, Labels, Shape, Split, as_nchw
from resdepth.data.user_data import load_folder, load_npz
from resdepth.errors import DataError

# The published sizes, so that planning downloads nothing: channels, height, width, classes, training images.
_SHAPES = {
    "digits": Shape(1, 8, 8, 10, 1_437),
    "cifar10": Shape(3, 32, 32, 10, 50_000),
    "cifar100": Shape(3, 32, 32, 100, 50_000),
    "mnist": Shape(1, 28, 28, 10, 60_000),
    "fashion_mnist": Shape(1, 28, 28, 10, 60_000),
}
_TORCHVISION = {"cifar10": "CIFAR10", "cifar100": "CIFAR100", "mnist": "MNIST", "fashion_mnist": "FashionMNIST"}
# The last file below `data.root` that torchvision unpacks, and the size of the download, MB.
_DOWNLOADS = {
    "cifar10": ("cifar-10-batches-py/test_batch", 170),
    "cifar100": ("cifar-100-python/test", 169),
    "mnist": ("MNIST/raw/t10k-labels-idx1-ubyte", 12),
    "fashion_mnist": ("FashionMNIST/raw/t10k-labels-idx1-ubyte", 31),
}
_loaded: dict[DataConfig, Dataset] = {}


def load(config: DataConfig) -> Dataset:
    """Return the data set with `validation` held out and `limit` applied. The last two data sets are cached.

    With `validation=N`, N training images replace the test split. Both choices are balanced over the classes and do not
    depend on a seed. Raises DataError.
    """
    key = _content(config)
    if key not in _loaded:
        preload(key, _load(key))
    return _loaded[key]


def preload(config: DataConfig, data: Dataset) -> None:
    """Make `load` return this data set: a child process receives it from its parent."""
    while len(_loaded) >= 2:
        del _loaded[next(iter(_loaded))]
    _loaded[_content(config)] = data


def _content(config: DataConfig) -> DataConfig:
    """Return the configuration without what is only said of the data: equal ones load the same images."""
    return replace(config, name="", fingerprint="", classes=None)


def forget_user_data() -> None:
    """Read users' own data again when they are asked for: in a notebook, a file may change between two calls."""
    for config in [config for config in _loaded if config.source in USER_SOURCES]:
        del _loaded[config]
    fingerprint.cache_clear()


def _load(config: DataConfig) -> Dataset:
    whole = LOADERS[config.source](config)
    _require_subset(config, whole.classes, len(whole.train.labels))
    train, test = whole.train, whole.test
    if config.validation:
        held_out = _balanced(train.labels, config.validation)
        train, test = train.take(np.setdiff1d(np.arange(len(train.labels)), held_out)), train.take(held_out)
    if config.limit is not None:
        train, test = (split.take(_balanced(split.labels, config.limit)) for split in (train, test))
    return Dataset(train, test, whole.classes, whole.note)


def shape(config: DataConfig) -> Shape:
    """Return the data set's sizes. A published data set is not downloaded for it."""
    known = _SHAPES.get(config.source)
    if known is None:
        data = load(config)
        count, channels, height, width = data.train.images.shape
        return Shape(channels, height, width, data.classes, count)
    _require_subset(config, known.classes, known.train_images)
    count = known.train_images - config.validation
    return replace(known, train_images=min(count, config.limit or count))


def published_classes(source: str) -> int | None:
    """Return the number of classes of a published data set, None for another source."""
    known = _SHAPES.get(source)
    return known.classes if known else None


def missing_megabytes(config: DataConfig) -> int | None:
    """Return the size of the download, MB, of a published data set that is not in `data.root`; else None."""
    if config.source not in _DOWNLOADS:
        return None
    file, megabytes = _DOWNLOADS[config.source]
    return None if (expand_path("data.root", config.root) / file).is_file() else megabytes


def _require_subset(config: DataConfig, classes: int, images: int) -> None:
    """Raises DataError for a `limit` or `validation` that the data set cannot give."""
    if config.limit is not None and config.limit < classes:
        raise DataError("data.limit", config.limit, f"leaves a class without an image; use at least {classes}")
    if config.validation and config.validation > images - 2:
        remedy = f"leaves fewer than 2 training images; use at most {images - 2}"
        raise DataError("data.validation", config.validation, remedy)


@lru_cache
def fingerprint(config: DataConfig) -> str:
    """Return the SHA-256 of a user's images and labels, whatever their path; "" for a published data set."""
    if config.source not in USER_SOURCES:
        return ""
    data = load(config)
    digest = sha256()
    for split in (data.train, data.test):
        for part in (repr(split.images.shape).encode(), split.images.tobytes(), split.labels.tobytes()):
            digest.update(part)
    return digest.hexdigest()


def _balanced(labels: Labels, count: int) -> NDArray[np.intp]:
    """Return at most `count` sorted indices, balanced over the classes: the first of each, the second of each, ..."""
    occurrence = np.empty(len(labels), dtype=np.intp)
    for label in np.unique(labels):
        where = np.flatnonzero(labels == label)
        occurrence[where] = np.arange(len(where))
    return np.sort(np.argsort(occurrence, kind="stable")[:count])


def _digits(_: DataConfig) -> Dataset:
    """Load scikit-learn's 1,797 bundled 8x8 digits, in a fixed stratified split of 1,437 and 360."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    pixels, labels = load_digits(return_X_y=True)
    images = np.round(pixels.reshape(-1, 1, 8, 8) * (255 / 16)).astype(np.uint8)
    index = train_test_split(np.arange(len(labels)), test_size=0.2, stratify=labels, random_state=0)
    whole = Split(images, labels.astype(np.int64))
    return Dataset(whole.take(index[0]), whole.take(index[1]), classes=10)


def _torchvision(config: DataConfig) -> Dataset:
    """Load a data set with torchvision, which downloads it to `data.root` and verifies its MD5."""
    from torchvision import datasets

    kind = getattr(datasets, _TORCHVISION[config.source])
    root = expand_path("data.root", config.root)
    try:
        with _downloading():
            parts = [kind(root, train=train, download=config.download) for train in (True, False)]
    except Exception as error:  # of many kinds: an unreachable server, a broken archive, a broken file in it
        if config.download:
            # torchvision verifies an MNIST's archives, not the files unpacked from them, which may be incomplete.
            for archive in (root / kind.__name__ / "raw").glob("*.gz"):
                with suppress(OSError):
                    archive.with_suffix("").unlink(missing_ok=True)
        first = " ".join(str(error).split()).rstrip(".")[:160] or type(error).__name__
        remedy = "connect to the internet, set data.root=FOLDER that holds it, or use data=npz or data=digits"
        problem = f"not found in {root}, and the download failed ({first})"
        raise DataError("data", config.source, f"{problem}; {remedy}") from error
    train, test = (Split(as_nchw(np.asarray(p.data)), np.asarray(p.targets, dtype=np.int64)) for p in parts)
    return Dataset(train, test, classes=_SHAPES[config.source].classes)


@contextmanager
def _downloading() -> Iterator[None]:
    """Set a timeout for downloads, in seconds; show torchvision's progress bar on a terminal only."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(60)
    try:
        with nullcontext() if sys.stderr.isatty() else redirect_stderr(io.StringIO()):
            yield
    finally:
        socket.setdefaulttimeout(before)


LOADERS: dict[str, Callable[[DataConfig], Dataset]] = {
    "digits": _digits,
    **dict.fromkeys(_TORCHVISION, _torchvision),
    "npz": load_npz,
    "folder": load_folder,
}
