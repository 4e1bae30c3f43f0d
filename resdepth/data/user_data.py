"""A user's own images: one .npz file, or a folder of image files. Everything about them is checked here, once.

Raises DataError, which names the file, what is wrong with it and the remedy.
"""

import warnings
import zipfile
import zlib
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

# What a file that is not what it says makes NumPy, zipfile and zlib raise.
_UNREADABLE = (
    OSError, ValueError, EOFError, RuntimeError, NotImplementedError, MemoryError, zipfile.BadZipFile, zlib.error
)  # fmt: skip


def load_npz(config: DataConfig) -> Dataset:
    """A .npz file in Keras' layout: x_train (N, H, W[, C]), y_train (N,), x_test, y_test. Never unpickled."""
    path = _existing(config, is_folder=False)
    try:
        archive = np.load(path, allow_pickle=False)
        if not isinstance(archive, NpzFile):
            raise ValueError("it holds one array without a name")
        with archive:
            missing = [key for key in ("x_train", "y_train", "x_test", "y_test") if key not in archive.files]
            if missing:
                has = ", ".join(archive.files) or "nothing"
                raise DataError("data.path", path, f"lacks {', '.join(missing)} (has {has}); save all four arrays")
            _require_memory(path, _unpacked_bytes(archive))
            arrays = {key: archive[key] for key in ("x_train", "y_train", "x_test", "y_test")}
    except _UNREADABLE as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(
            "data.path", path, f"is no .npz of plain arrays ({first}); write it with numpy.savez"
        ) from error
    splits = {s: _checked(path, s, arrays[f"x_{s}"], arrays[f"y_{s}"]) for s in ("train", "test")}
    train, test = splits["train"], splits["test"]
    if train.images.shape[1:] != test.images.shape[1:]:
        sizes = f"{train.images.shape[1:]} and {test.images.shape[1:]}"
        raise DataError("data.path", path, f"x_train and x_test hold images of different shapes, {sizes}")
    return Dataset(train, test, classes=_count_classes(path, train.labels, test.labels))


def _checked(path: Path, split: str, images: NDArray[Any], labels: NDArray[Any]) -> Split:
    def bad(remedy: str) -> DataError:
        return DataError("data.path", path, remedy)

    if images.ndim not in (3, 4) or 0 in images.shape:
        raise bad(f"x_{split} has shape {images.shape}; needs (N, H, W) or (N, H, W, C), none of them 0")
    if images.ndim == 4 and images.shape[1] in (1, 3) and images.shape[3] not in (1, 3, 4):
        raise bad(f"x_{split} has shape {images.shape}, channels first; transpose it to (N, H, W, C)")
    labels = labels.reshape(-1) if labels.ndim == 2 and labels.shape[1] == 1 else labels
    if labels.shape != (len(images),) or not np.issubdtype(labels.dtype, np.integer):
        raise bad(
            f"y_{split} has shape {labels.shape}, {labels.dtype}; needs {len(images)} whole numbers, one an image"
        )
    if not (np.issubdtype(images.dtype, np.integer) or np.issubdtype(images.dtype, np.floating)):
        raise bad(f"x_{split} holds {images.dtype}; needs numbers from 0 to 255, or from 0 to 1")
    if images.dtype != np.uint8:
        low, high = float(images.min()), float(images.max())
        if not (low >= 0 and high <= 255):  # false for NaN as well
            raise bad(f"x_{split} holds pixels from {low:g} to {high:g}; needs numbers from 0 to 255, or from 0 to 1")
        scale = 255.0 if np.issubdtype(images.dtype, np.floating) and high <= 1 else 1.0
        images = np.round(images * scale).astype(np.uint8)
    return Split(as_nchw(images), labels.astype(np.int64))


def _count_classes(path: Path, train: Labels, test: Labels) -> int:
    classes = int(train.max()) + 1
    if train.min() < 0 or test.min() < 0:
        raise DataError("data.path", path, f"a label is {min(train.min(), test.min())}; number the classes from 0")
    if len(np.unique(train)) < classes:
        empty = int(np.setdiff1d(np.arange(min(classes, len(train) + 1)), train)[0])
        raise DataError(
            "data.path", path, f"class {empty} of {classes} has no training image; number them without gaps"
        )
    if classes < 2 or test.max() >= classes:
        raise DataError(
            "data.path", path, f"y_train has {classes} classes and y_test a {test.max()}; both need the same"
        )
    return classes


def load_folder(config: DataConfig) -> Dataset:
    """A folder train/<class>/* and test/<class>/* of images (torchvision's ImageFolder).

    The images are ordered by file name, then class, so that a set unpacked from one file keeps that file's order.
    """
    from torchvision.datasets import ImageFolder

    path = _existing(config, is_folder=True)
    trees = []
    for split in ("train", "test"):
        if not (path / split).is_dir():
            raise DataError("data.path", path, f"has no folder {split}/; needs train/<class>/* and test/<class>/*")
        try:
            trees.append(ImageFolder(str(path / split)))
        except OSError as error:
            reason = error.strerror or str(error).splitlines()[0].rstrip(".")
            raise DataError("data.path", path / split, f"{reason}; needs {split}/<class>/* in every class") from error
    train, test = trees
    if train.classes != test.classes:
        odd = ", ".join(sorted(set(train.classes) ^ set(test.classes)))
        raise DataError("data.path", path, f"train/ and test/ must hold the same classes; only one has {odd}")
    if len(train.classes) < 2:
        raise DataError("data.path", path, f"train/ holds one class ({train.classes[0]}); needs at least two")
    seen: tuple[tuple[int, ...], str] | None = None
    splits: list[Split] = []
    for tree in trees:
        if not splits:
            count = sum(len(tree.samples) for tree in trees)
            _require_memory(path, count * _read_image(tree.samples[0][0], config.size).nbytes)
        samples = sorted(tree.samples, key=lambda sample: (Path(sample[0]).name, sample[1]))
        images = []
        for file, _label in samples:
            image = _read_image(file, config.size)
            seen = seen or (image.shape, file)
            if image.shape != seen[0]:
                sizes = f"{seen[1]} is {seen[0][1]}x{seen[0][0]} and {file} {image.shape[1]}x{image.shape[0]}"
                raise DataError("data.path", path, f"images differ in size: {sizes}; say data.size=N to resize all")
            images.append(image)
        splits.append(Split(as_nchw(np.stack(images)), np.array([label for _, label in samples], dtype=np.int64)))
    return Dataset(splits[0], splits[1], classes=len(train.classes))


def _unpacked_bytes(archive: NpzFile) -> int:
    return sum(member.file_size for member in archive.zip.infolist()) if archive.zip else 0


def _require_memory(path: Path, size: int) -> None:
    there = host.host_bytes()
    if size > there:
        sizes = f"holds {host.format_bytes(size)} of images and this machine has {host.format_bytes(there)} of memory"
        raise DataError("data.path", path, f"{sizes}; use fewer or smaller images")


def _read_image(file: str, size: int | None) -> Images:
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(file) as image:
                rgb = image.convert("RGB")
                return np.asarray(rgb if size is None else rgb.resize((size, size), Image.Resampling.BILINEAR))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError("data.path", file, f"is no readable image ({error}); mend or remove the file") from error


def _existing(config: DataConfig, *, is_folder: bool) -> Path:
    path = expand_path("data.path", config.path or "")
    # A pipe or a device is none either: reading it might never end.
    if not (path.is_dir() if is_folder else path.is_file()):
        what = "a folder" if is_folder else "a file"
        remedy = f"is not {what}" if path.exists() else "does not exist"
        raise DataError("data.path", path, f"{remedy}; data={config.source} needs {what}")
    return path
