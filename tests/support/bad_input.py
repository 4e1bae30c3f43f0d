"""The command in this process, unable to train, and the preparations of bad input."""

import copy
import functools
import io
import shutil
import sys
import zipfile

import numpy as np
import pytest
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from PIL import Image

from resdepth.cli.main import main
from resdepth.sweep import preflight
from resdepth.sweep.jobs import launch
from support.commands import ROOT
from support.images import forget_images, write_folder, write_npz
from support.platforms import posix

NPZ, FOLDER, OWN = "sweep data=npz data.path=mine.npz", "sweep data=folder data.path=.", "sweep --config-dir own "
NO_NPZ = "data.path=mine.npz: is not an .npz file of plain arrays ("
DIGITS = "results/digits/plain-8-s0"
CSV = "results=results: contains no results that can be read (results/digits/plain-8-s0/"


def spoilt(**changes):
    """mine.npz with some arrays changed; a change is given all arrays and returns one, or None to leave it out."""

    def prepare(folder, images):
        arrays = {**images, **{key: change(images) for key, change in changes.items()}}
        write_npz(folder / "mine.npz", {key: value for key, value in arrays.items() if value is not None})

    return prepare


def content(make):
    """mine.npz with these bytes, made from those of a good one."""

    def prepare(folder, images):
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **images)
        (folder / "mine.npz").write_bytes(make(buffer.getvalue()))

    return prepare


def one_array(folder, images):
    with (folder / "mine.npz").open("wb") as file:
        np.save(file, images["x_train"])


def declared(folder, images):
    """x_train's header speaks of 10**12 images of a byte; no byte follows."""
    write_npz(folder / "mine.npz", {key: value for key, value in images.items() if key != "x_train"})
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "|u1", "fortran_order": False, "shape": (10**12, 1, 1)})
    with zipfile.ZipFile(folder / "mine.npz", "a") as archive:
        archive.writestr("x_train.npy", header.getvalue())


def tree(damage=lambda folder: None):
    """train/<class>/* and test/<class>/* of the images, then damaged."""

    def prepare(folder, images):
        write_folder(folder, images)
        damage(folder)

    return prepare


def image(path, mode="RGB", size=(8, 8)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size).save(path)


def classes(**sizes):
    """<class>/<i>.png of these sizes, in a folder without train/ and test/."""

    def prepare(folder, _images):
        for name, widths in sizes.items():
            (folder / name).mkdir()
            for i, width in enumerate(widths):
                image(folder / name / f"{i}.png", size=(width, 8))

    return prepare


def yaml(path, text):
    """own/<path> with this text."""

    def prepare(folder, _images):
        (folder / "own" / path).parent.mkdir(parents=True)
        (folder / "own" / path).write_text(text)

    return prepare


def run_of_ones_own(name="results/digits/plain-8-s0", **damage):
    """A finished run, with some of its files (by stem) replaced by these bytes, or made a folder (None)."""

    def prepare(folder, _images):
        source = ROOT / "results" / "published" / "digits" / "plain-8-s0"
        shutil.copytree(source, folder / name)
        for file in (folder / name).iterdir():
            if file.stem in damage:
                file.unlink()
                new = damage[file.stem]
                if callable(new):
                    new = new((source / file.name).read_bytes())
                file.mkdir() if new is None else file.write_bytes(new)

    return prepare


def put(name, text="in the way\n"):
    def prepare(folder, _images):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)

    return prepare


def both(*parts):
    def prepare(folder, images):
        for part in parts:
            part(folder, images)

    return prepare


def as_words(command_name, words):
    return [*([command_name] if command_name else []), *(words.split() if isinstance(words, str) else words)]


def in_table(command_name, table):
    """Rows of `cases` from a table of words -> beginning of the line."""
    return [(None, as_words(command_name, words), line) for words, line in table.items()]


def named(i, words):
    return f"{i}-" + "".join(c if c.isascii() and c.isprintable() else "?" for c in " ".join(words))[:60]


_POSIX_PREPARATIONS = set()


def needs_posix(prepare):
    """Skip the rows with this preparation where there is no POSIX."""
    _POSIX_PREPARATIONS.add(prepare)
    return prepare


# Every row of every table that was collected: preparation, words, beginning of the line.
COLLECTED = []


def cases(*rows):
    """Parametrise a test by rows of (preparation or None, words, beginning of the line)."""
    COLLECTED.extend(rows)
    return pytest.mark.parametrize(
        ("prepare", "words", "line"),
        [
            pytest.param(
                *row,
                id=named(i, row[1]),
                marks=posix if row[0] in _POSIX_PREPARATIONS or any("/dev/" in word for word in row[1]) else (),
            )
            for i, row in enumerate(rows)
        ],
    )


def everything(folder):
    """All there is below a folder: name, kind, content."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() if path.is_file() else path.lstat().st_mode
        for path in folder.rglob("*")
    }


class Said:
    """What the command left: exit code, standard output, standard error."""

    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err


_COMPOSED = {}


def load_configuration(loader, config_name, overrides, run_mode, **options):
    """Hydra's composition, once for equal overrides of the program's own files: most of the tables' time."""
    load = functools.partial(_load, loader, config_name, overrides, run_mode, **options)
    if any(path.provider.startswith("resdepth") for path in loader.get_search_path().get_path()):
        return load()
    key = (config_name, *overrides, run_mode, *options.items())
    if key not in _COMPOSED:
        _COMPOSED[key] = load()
    return copy.deepcopy(_COMPOSED[key])


_load = ConfigLoaderImpl.load_configuration


@pytest.fixture
def resdepth(tmp_path, monkeypatch, capfd):
    """The command in this process, in an empty folder, unable to train."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(launch, "launch", lambda *_, **__: pytest.fail("something was trained"))
    # A dry run estimates the time, which takes seconds.
    estimate = lambda _: None if "--dry-run" in sys.argv else pytest.fail("something was timed")  # noqa: E731
    monkeypatch.setattr(preflight, "estimate_seconds", estimate)
    monkeypatch.setattr(ConfigLoaderImpl, "load_configuration", load_configuration)
    forget_images()

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["resdepth", *words])
        with pytest.raises(SystemExit) as ended:
            main()
        return Said(ended.value.code, *capfd.readouterr())

    return run


def check_refused(said, line):
    assert said.err.startswith(f"resdepth: {line}")
    assert (said.code, said.out, said.err.count("\n")) == (2, "", 1)
    assert said.err[:-1].isprintable()
    # Something is named, and what to do about it said.
    assert len(said.err.split(maxsplit=2)) == 3
    assert len(said.err) < 1200


@pytest.fixture
def refuse(resdepth, tmp_path, images):
    """Prepare a folder, run the command in it, and check that it is refused in one line and changes nothing."""

    def check(prepare, words, line):
        if prepare is not None:
            prepare(tmp_path, images)
        before = everything(tmp_path)
        check_refused(resdepth(*words), line)
        assert everything(tmp_path) == before

    return check
