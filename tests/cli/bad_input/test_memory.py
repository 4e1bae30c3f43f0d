"""Nets and images that no memory holds, refused before they are built or read."""

import zipfile

import pytest
from PIL import Image
from support.bad_input import FOLDER, NPZ, check_refused, tree
from support.images import write_folder, write_npz

from resdepth import host


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("depth=20000 model.width=4096", "depth=20000: with model.width=4096 and minibatches of 128 needs at least "),
        (
            "depth=8 model.width=4096 precision=bf16 recipe.batch_size=1000",
            "depth=8: with model.width=4096 and minibatches of 1000 needs at least 58.4 GiB",
        ),
    ],
)
def test_a_net_that_no_memory_holds_is_refused_by_estimate(words, line, resdepth, monkeypatch):
    monkeypatch.setattr("resdepth.device.host_bytes", lambda: 2**33)
    check_refused(resdepth("sweep", "device=cpu", *words.split()), line)


def zeros(folder, images):
    """64 MiB of zeros in a file of some 64 KiB."""
    write_npz(folder / "mine.npz", {key: value for key, value in images.items() if key != "x_train"})
    with zipfile.ZipFile(folder / "mine.npz", "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x_train.npy", bytes(2**26))


@pytest.mark.parametrize(
    ("prepare", "words"),
    [(zeros, NPZ), (tree(), FOLDER), (tree(), FOLDER + " data.size=512")],
    ids=["npz", "folder", "resized"],
)
def test_images_that_no_memory_holds_are_refused_before_they_are_read(
    prepare, words, resdepth, monkeypatch, tmp_path, images
):
    prepare(tmp_path, images)
    monkeypatch.setattr(host, "host_bytes", lambda: 10_000)
    path = "mine.npz" if prepare is zeros else "."
    check_refused(resdepth(*words.split()), f"data.path={path}: holds ")


def test_a_decompression_bomb_is_refused_and_one_that_might_be_is_read_in_silence(
    resdepth, monkeypatch, tmp_path, images
):
    write_folder(tmp_path, images)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 31)
    check_refused(resdepth(*FOLDER.split()), "data.path=train/a/000.png: cannot be read as an image (Image size (64")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 63)
    said = resdepth(*FOLDER.split(), "--dry-run")
    assert (said.code, said.err) == (0, "")
