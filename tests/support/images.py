"""A user's own images: a small data set, written as .npz or as a folder."""

import numpy as np
from PIL import Image

from resdepth.config.schema import DataConfig
from resdepth.data import sources
from resdepth.sweep import run


def forget_images():
    """Clear what this process has read, for a test that writes other images to the same path."""
    sources._loaded.clear()
    sources.fingerprint.cache_clear()
    run._device_data.cache_clear()


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
