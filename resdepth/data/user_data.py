"""User data: one .npz file, or a folder of image files, validated. A DataError names the file, fault and remedy."""

import warnings
import zipfile
import zlib
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib.npyio import NpzFile
from numpy.typing import NDArray

from resdepth import host
from resdepth.config.checks import expand_path
from resdepth.config.schema import DataConfig
from resdepth.data.dataset import Dataset, Images, Labels, Split, as_nchw
from resdepth.errors import DataError

# Of a folder without train/ and test/, the share of each class that is the test set.
_TEST_SHARE = 0.2
# torchvision's IMG_EXTENSIONS.
_IMAGES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
_Sample = tuple[str, int]  # an image file and its label
_ARRAYS = ("x_train", "y_train", "x_test", "y_test")
# Raised by NumPy, zipfile and zlib for a file that is not a valid .npz.
_READ_ERRORS = (OSError, ValueError, EOFError, RuntimeError, MemoryError, zipfile.BadZipFile, zlib.error)


def load_npz(config: DataConfig) -> Dataset:
    """Load a .npz file in Keras' layout: x_train (N, H, W[, C]), y_train (N,), x_test, y_test. Never unpickles."""
    path = _existing(config, "a file")
    try:
        archive = np.load(path, allow_pickle=False)
        if not isinstance(archive, NpzFile):
            raise ValueError("it holds one unnamed array")
        with archive:
            missing = ", ".join(key for key in _ARRAYS if key not in archive.files)
            if missing:
                has = ", ".join(archive.files) or "nothing"
                raise _error(path, f"lacks {missing} (has {has}); save all four arrays")
            members = archive.zip.infolist() if archive.zip else []
            _require_memory(path, sum(member.file_size for member in members))
            x_train, y_train, x_test, y_test = (archive[key] for key in _ARRAYS)
    except _READ_ERRORS as error:
        # NumPy takes what is no archive for a pickle, and explains how to load one, which may execute anything.
        first = (str(error).splitlines() or [""])[0]
        reason = "" if not first or "pickled" in first else f" ({first})"
        raise _error(path, f"is not an .npz file of plain arrays{reason}; write it with numpy.savez") from error
    train, test = _validate(path, "train", x_train, y_train), _validate(path, "test", x_test, y_test)
    if train.images.shape[1:] != test.images.shape[1:]:
        sizes = f"{train.images.shape[1:]} and {test.images.shape[1:]}"
        raise _error(path, f"x_train and x_test hold images of different shapes, {sizes}")
    return Dataset(train, test, classes=_count_classes(path, train.labels, test.labels))


def _validate(path: Path, split: str, images: NDArray[Any], labels: NDArray[Any]) -> Split:
    if images.ndim not in (3, 4) or 0 in images.shape:
        raise _error(path, f"x_{split} has shape {images.shape}; needs (N, H, W) or (N, H, W, C), none of them 0")
    if images.ndim == 4 and images.shape[1] in (1, 3) and images.shape[3] not in (1, 3, 4):
        raise _error(path, f"x_{split} has shape {images.shape}, channels first; transpose it to (N, H, W, C)")
    labels = labels.reshape(-1) if labels.ndim == 2 and labels.shape[1] == 1 else labels
    if labels.shape != (len(images),) or not np.issubdtype(labels.dtype, np.integer):
        needs = f"needs {len(images)} whole numbers, one per image"
        raise _error(path, f"y_{split} has shape {labels.shape}, {labels.dtype}; {needs}")
    needs = "needs numbers from 0 to 255, or from 0 to 1"
    if not (np.issubdtype(images.dtype, np.integer) or np.issubdtype(images.dtype, np.floating)):
        raise _error(path, f"x_{split} holds {images.dtype}; {needs}")
    if images.dtype != np.uint8:
        low, high = float(images.min()), float(images.max())
        if not (low >= 0 and high <= 255):  # false for NaN as well
            raise _error(path, f"x_{split} holds pixels from {low:g} to {high:g}; {needs}")
        scale = 255.0 if np.issubdtype(images.dtype, np.floating) and high <= 1 else 1.0
        images = np.round(images * scale).astype(np.uint8)
    return Split(as_nchw(images), labels.astype(np.int64))


def _count_classes(path: Path, train: Labels, test: Labels) -> int:
    classes = int(train.max()) + 1
    if train.min() < 0 or test.min() < 0:
        raise _error(path, f"a label is {min(train.min(), test.min())}; number the classes from 0")
    if len(np.unique(train)) < classes:
        empty = int(np.setdiff1d(np.arange(min(classes, len(train) + 1)), train)[0])
        raise _error(path, f"class {empty} of {classes} has no training image; number them without gaps")
    if classes < 2 or test.max() >= classes:
        raise _error(path, f"y_train has {classes} classes and y_test a {test.max()}; both need the same")
    return classes


def load_folder(config: DataConfig) -> Dataset:
    """Load images from train/<class>/* and test/<class>/* (torchvision's ImageFolder), or split those of <class>/*.

    They are ordered by file name, then class, so that a set unpacked from one file keeps that file's order.
    """
    path, note = _existing(config, "a folder"), ""
    if any((path / split).is_dir() for split in ("train", "test")):
        classes, train, test = _separate(path)
    else:
        classes, train, test = _split(path)
        share = (
            f"{len(test):,} of {len(train) + len(test):,} images, {100 * _TEST_SHARE:.0f} % of each class by file name"
        )
        note = f"{path} has no train/ and test/: {share}, are the test set"
    if len(classes) < 2:
        raise _error(path, f"holds one class ({classes[0]}); needs at least two")
    first = _read_image(train[0][0], config.size)
    _require_memory(path, (len(train) + len(test)) * first.nbytes)
    read = [_read_images(path, samples, train[0][0], first, config.size) for samples in (train, test)]
    return Dataset(read[0], read[1], classes=len(classes), note=note)


def _separate(path: Path) -> tuple[list[str], list[_Sample], list[_Sample]]:
    """Return the classes and the samples of train/ and test/."""
    from torchvision.datasets import ImageFolder

    trees = []
    for split in ("train", "test"):
        if not (path / split).is_dir():
            raise _error(path, f"has no folder {split}/; needs train/<class>/* and test/<class>/*")
        try:
            tree = ImageFolder(str(path / split), allow_empty=True)
        except OSError as error:
            reason = error.strerror or "has no folders of images"
            raise _error(path / split, f"{reason}; needs {split}/<class>/* in every class") from error
        found = set(tree.targets)
        empty = ", ".join(name for name, label in tree.class_to_idx.items() if label not in found)
        if empty:
            raise _error(path / split, f"holds no images of {empty}; needs {split}/<class>/* in every class")
        trees.append(tree)
    train, test = trees
    if train.classes != test.classes:
        odd = ", ".join(sorted(set(train.classes) ^ set(test.classes)))
        raise _error(path, f"train/ and test/ must hold the same classes; only one has {odd}")
    return train.classes, train.samples, test.samples


def _split(path: Path) -> tuple[list[str], list[_Sample], list[_Sample]]:
    """Return the classes of a folder without train/ and test/, and a fifth of each class as the test samples.

    Which images these are depends on their file names alone, by a hash: neither on a seed nor on their order, in which
    similar images often stand side by side.
    """
    needs = "needs <class>/* with images, or train/<class>/* and test/<class>/*"
    try:
        folders = sorted(entry for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith("."))
        classes = [(f.name, [str(file) for file in f.iterdir() if file.suffix.lower() in _IMAGES]) for f in folders]
    except OSError as error:
        raise _error(path, f"cannot be read ({error.strerror}: {error.filename}); {needs}") from error
    if not any(files for _, files in classes):
        raise _error(path, f"has no folders of images; {needs}")
    train: list[_Sample] = []
    test: list[_Sample] = []
    for label, (name, files) in enumerate(classes):
        if len(files) < 2:
            raise _error(
                path / name, f"holds {len(files) or 'no'} image{'s' * (not files)}; each class needs at least two"
            )
        files.sort(key=lambda file: sha256(Path(file).name.encode(errors="surrogateescape")).digest())
        count = max(1, round(_TEST_SHARE * len(files)))
        test += [(file, label) for file in files[:count]]
        train += [(file, label) for file in files[count:]]
    return [name for name, _ in classes], train, test


def _read_images(path: Path, samples: list[_Sample], first_file: str, first: Images, size: int | None) -> Split:
    """Read the samples, of which each must have the size of the first image."""
    samples = sorted(samples, key=lambda sample: (Path(sample[0]).name, sample[1]))
    images = np.empty((len(samples), *first.shape), dtype=np.uint8)
    for i, (file, _) in enumerate(samples):
        image = _read_image(file, size)
        if image.shape != first.shape:
            both = ((first_file, first), (file, image))
            sizes = " and ".join(f"{name} is {array.shape[1]}x{array.shape[0]}" for name, array in both)
            raise _error(path, f"images differ in size: {sizes}; set data.size=N to resize all")
        images[i] = image
    return Split(as_nchw(images), np.array([label for _, label in samples], dtype=np.int64))


def _read_image(file: str, size: int | None) -> Images:
    """Read one image file as RGB, (H, W, 3), resized to `size` x `size` if it is set."""
    from PIL import Image

    try:
        with warnings.catch_warnings(action="ignore"), Image.open(file) as image:
            rgb = image.convert("RGB")
            return np.asarray(rgb if size is None else rgb.resize((size, size), Image.Resampling.BILINEAR))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise _error(file, f"cannot be read as an image ({error}); fix or remove the file") from error


def _existing(config: DataConfig, kind: str) -> Path:
    """Return `data.path`. Raises DataError unless it is of the kind, "a file" or "a folder"."""
    path = expand_path("data.path", config.path or "")
    # Pipes and devices are not files: reading one might never end.
    if not (path.is_dir() if kind == "a folder" else path.is_file()):
        problem = f"is not {kind}" if path.exists() else "does not exist"
        raise _error(path, f"{problem}; data={config.source} needs {kind}")
    return path


def _require_memory(path: Path, size: int) -> None:
    if size > host.host_bytes():
        sizes = f"{host.format_bytes(size)} of images and this machine has {host.format_bytes(host.host_bytes())}"
        raise _error(path, f"holds {sizes} of memory; use fewer or smaller images")


def _error(path: Path | str, problem: str) -> DataError:
    return DataError("data.path", path, problem)
