"""A user's images that are damaged, incomplete or of the wrong shape."""

import os
import shutil

import numpy as np
from support.bad_input import (
    FOLDER,
    NO_NPZ,
    NPZ,
    cases,
    classes,
    content,
    declared,
    image,
    needs_posix,
    one_array,
    put,
    spoilt,
    tree,
)
from support.images import write_folder


@needs_posix
def fifo(folder, _):
    os.mkfifo(folder / "mine.npz")


@needs_posix
def link_to_itself(folder, _):
    (folder / "mine.npz").symlink_to("mine.npz")


# Preparation, words, the beginning of the line.
CASES = [
    (spoilt(x_test=lambda a: None, y_test=lambda a: None), NPZ, "data.path=mine.npz: lacks x_test, y_test (has "),
    (spoilt(x_test=lambda a: None), NPZ, "data.path=mine.npz: lacks x_test (has "),
    (spoilt(y_train=lambda a: np.array(a["y_train"], dtype=object)), NPZ, NO_NPZ + "Object arrays cannot be loaded"),
    (spoilt(x_train=lambda a: a["x_train"][:, 0, 0]), NPZ, "data.path=mine.npz: x_train has shape (60, 3); needs"),
    (spoilt(x_train=lambda a: np.float32(3)), NPZ, "data.path=mine.npz: x_train has shape (); needs"),
    (spoilt(y_train=lambda a: a["y_train"][:-1]), NPZ, "data.path=mine.npz: y_train has shape (59,), int64; needs 60"),
    (spoilt(y_train=lambda a: a["y_train"] + 0.5), NPZ, "data.path=mine.npz: y_train has shape (60,), float64; needs"),
    (spoilt(y_train=lambda a: a["y_train"].astype(str)), NPZ, "data.path=mine.npz: y_train has shape (60,), <U21"),
    (spoilt(x_train=lambda a: a["x_train"].astype(str)), NPZ, "data.path=mine.npz: x_train holds <U3; needs numbers"),
    (spoilt(x_train=lambda a: a["x_train"] * 1j), NPZ, "data.path=mine.npz: x_train holds complex128; needs numbers"),
    (spoilt(y_train=lambda a: a["y_train"] - 1), NPZ, "data.path=mine.npz: a label is -1; number the classes from 0"),
    (spoilt(y_test=lambda a: a["y_test"] - 1), NPZ, "data.path=mine.npz: a label is -1; number the classes from 0"),
    (spoilt(y_train=lambda a: a["y_train"] * 2), NPZ, "data.path=mine.npz: class 1 of 5 has no training image"),
    (spoilt(y_train=lambda a: a["y_train"] + 2**62), NPZ, "data.path=mine.npz: class 0 of "),
    (
        spoilt(y_train=lambda a: a["y_train"].astype(np.uint64) + np.uint64(2**63)),
        NPZ,
        "data.path=mine.npz: a label is",
    ),
    (spoilt(y_test=lambda a: np.full(15, 7)), NPZ, "data.path=mine.npz: y_train has 3 classes and y_test a 7; both"),
    (
        spoilt(y_train=lambda a: a["y_train"] * 0, y_test=lambda a: a["y_test"] * 0),
        NPZ,
        "data.path=mine.npz: y_train has 1",
    ),
    (spoilt(x_train=lambda a: a["x_train"].astype(int) - 300), NPZ, "data.path=mine.npz: x_train holds pixels from -"),
    (spoilt(x_train=lambda a: a["x_train"].astype(int) + 300), NPZ, "data.path=mine.npz: x_train holds pixels from 3"),
    (spoilt(x_train=lambda a: a["x_train"] * np.nan), NPZ, "data.path=mine.npz: x_train holds pixels from nan to nan"),
    (spoilt(x_test=lambda a: np.full(a["x_test"].shape, np.inf)), NPZ, "data.path=mine.npz: x_test holds pixels from "),
    (
        spoilt(x_test=lambda a: a["x_test"][:, :4]),
        NPZ,
        "data.path=mine.npz: x_train and x_test hold images of different",
    ),
    (
        spoilt(x_train=lambda a: np.zeros((60, 3, 8, 8), np.uint8)),
        NPZ,
        "data.path=mine.npz: x_train has shape (60, 3, 8, 8), channels first",
    ),
    (
        spoilt(x_train=lambda a: a["x_train"][:0], y_train=lambda a: a["y_train"][:0]),
        NPZ,
        "data.path=mine.npz: x_train has shape (0, 8, 8, 3); needs",
    ),
    (spoilt(), NPZ + " data.limit=2", "data.limit=2: leaves a class without an image; use at least 3"),
    (spoilt(), NPZ + " data.validation=59", "data.validation=59: leaves fewer than 2 training images; use at most 58"),
    (spoilt(), NPZ + " data.size=8", "data.size=8: only data=folder resizes images"),
    (
        spoilt(),
        NPZ + " depth=20000 model.width=1024",
        "depth=20000: with model.width=1024 and minibatches of 60 needs at least ",
    ),
    (content(lambda good: b"not a zip file"), NPZ, NO_NPZ.replace(" (", "; write it with numpy.savez")),
    (content(lambda good: b""), NPZ, NO_NPZ + "No data left in file); write it with numpy.savez"),
    (content(lambda good: good[:-200]), NPZ, NO_NPZ),
    (content(lambda good: good[:200] + bytes(40) + good[240:]), NPZ, NO_NPZ),
    (content(lambda good: good[: len(good) // 2]), NPZ, NO_NPZ),
    (content(lambda good: b"PK\x03\x04" + bytes(99)), NPZ, NO_NPZ),
    (one_array, NPZ, NO_NPZ + "it holds one unnamed array); write it with numpy.savez"),
    (declared, NPZ, NO_NPZ),
    (fifo, NPZ, "data.path=mine.npz: is not a file; data=npz needs a file"),
    (lambda folder, _: (folder / "mine.npz").mkdir(), NPZ, "data.path=mine.npz: is not a file; data=npz needs a file"),
    (
        link_to_itself,
        NPZ,
        "data.path=mine.npz: cannot be used (Too many",
    ),
    (
        tree(lambda f: (f / "train/a/000.png").write_bytes(b"\x89PNG broken")),
        FOLDER,
        "data.path=train/a/000.png: cannot be read as an image (",
    ),
    (
        tree(lambda f: (f / "train/a/000.png").write_bytes(b"")),
        FOLDER,
        "data.path=train/a/000.png: cannot be read as an image (",
    ),
    (
        tree(lambda f: (f / "test/a/000.png").write_bytes((f / "test/a/000.png").read_bytes()[:60])),
        FOLDER,
        "data.path=test/a/000.png: cannot be read as an image (",
    ),
    (
        tree(lambda f: image(f / "train/a/000.png", size=(9, 8))),
        FOLDER,
        "data.path=.: images differ in size: train/a/000.png is 9x8 and train/b/001.png is 8x8; set data.size=N",
    ),
    (
        tree(lambda f: image(f / "test/b/001.png", size=(8, 9))),
        FOLDER,
        "data.path=.: images differ in size: train/a/000.png is 8x8 and test/b/001.png is 8x9",
    ),
    (
        tree(lambda f: image(f / "test/d/000.png")),
        FOLDER,
        "data.path=.: train/ and test/ must hold the same classes; only one has d",
    ),
    (
        tree(lambda f: shutil.rmtree(f / "test/a")),
        FOLDER,
        "data.path=.: train/ and test/ must hold the same classes; only one has a",
    ),
    (tree(lambda f: (f / "train/d").mkdir()), FOLDER, "data.path=train: holds no images of d"),
    (tree(lambda f: shutil.rmtree(f / "test")), FOLDER, "data.path=.: has no folder test/; needs train/<class>/*"),
    (
        tree(lambda f: [shutil.rmtree(f / s / c) for s in ("train", "test") for c in "bc"]),
        FOLDER,
        "data.path=.: holds one class (a); needs at least two",
    ),
    (
        lambda f, _: [(f / s).mkdir() for s in ("train", "test")],
        FOLDER,
        "data.path=train: has no folders of images; needs",
    ),
    (tree(), FOLDER + " data.limit=2", "data.limit=2: leaves a class without an image; use at least 3"),
    (
        put("a.txt"),
        "sweep data=npz data.path=a.txt/x.npz",
        "data.path=a.txt/x.npz: does not exist; data=npz needs a file",
    ),
    # Folders of classes without train/ and test/.
    (classes(a=[8, 8]), FOLDER, "data.path=.: holds one class (a); needs at least two"),
    (classes(a=[8, 8], b=[8]), FOLDER, "data.path=b: holds 1 image; each class needs at least two"),
    (classes(a=[8, 8], b=[]), FOLDER, "data.path=b: holds no images; each class needs at least two"),
    (classes(a=[]), FOLDER, "data.path=.: has no folders of images; needs <class>/* with images, or train/"),
    (classes(a=[8, 8], b=[8, 9]), FOLDER, "data.path=.: images differ in size: "),
    (
        put("a.txt"),
        "sweep data=npz data.path=a.txt",
        "data.path=a.txt: is not an .npz file of plain arrays; write",
    ),
]


@cases(*((prepare, words.split(), line) for prepare, words, line in CASES))
def test_bad_input_gets_one_line_and_nothing_is_written_or_trained(prepare, words, line, refuse):
    refuse(prepare, words, line)


def test_images_of_other_modes_in_a_folder_become_rgb(resdepth, tmp_path, images):
    write_folder(tmp_path, images)
    for i, mode in enumerate(("L", "RGBA", "P", "LA", "1", "I;16")):
        image(tmp_path / "train" / "a" / f"z{i}.png", mode)
    said = resdepth(*FOLDER.split(), "--dry-run", "depth=8")
    assert (said.code, said.err) == (0, "")
    assert "2 runs, 2 to train" in said.out
