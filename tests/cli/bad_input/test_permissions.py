"""Files and folders that the user may not read or write."""

import pytest
from support.bad_input import (
    CSV,
    DIGITS,
    FOLDER,
    NPZ,
    OWN,
    Said,
    check_refused,
    everything,
    put,
    run_of_ones_own,
    spoilt,
    tree,
    yaml,
)
from support.commands import command_with
from support.faults import without_roots_rights
from support.platforms import linux


@linux
@pytest.mark.parametrize(
    ("prepare", "closed", "words", "line"),
    [
        (spoilt(), "mine.npz", NPZ, "data.path=mine.npz: is not an .npz file of plain arrays ([Errno 13] Permission"),
        (
            spoilt(),
            ".",
            "sweep data=npz data.path=sub/mine.npz",
            "data.path=sub/mine.npz: cannot be used (Permission denied); choose another path",
        ),
        (tree(), "train", FOLDER, "data.path=train: Permission denied; needs train/<class>/*"),
        (tree(), "train/a", FOLDER, "data.path=train: holds no images of a"),
        (tree(), "train/a/000.png", FOLDER, "data.path=train/a/000.png: cannot be read as an image ([Errno 13]"),
        (
            put("results/x"),
            "results",
            "sweep",
            "results=results: results/digits/plain-20-s0 cannot be used (Permission denied); set results=FOLDER",
        ),
        (
            run_of_ones_own(),
            "results",
            "plot results",
            "results=results: cannot be read (Permission denied); change its permissions",
        ),
        (
            run_of_ones_own(),
            "results",
            "summary results",
            "results=results: cannot be read (Permission denied); change its permissions",
        ),
        (run_of_ones_own(), f"{DIGITS}/metrics.csv", "summary results", CSV + "metrics.csv: cannot be read"),
        (run_of_ones_own(), f"{DIGITS}/config.yaml", "summary results", CSV + "config.yaml: cannot be read"),
        (
            run_of_ones_own(),
            f"{DIGITS}/config.yaml",
            "sweep depth=8 variant=plain",
            f"{DIGITS}/config.yaml: cannot be read",
        ),
        (
            yaml("recipe/x.yaml", "lr: 0.1\n"),
            "own/recipe/x.yaml",
            OWN + "recipe=x",
            "overrides=recipe=x: Hydra cannot use this ([Errno 13] Permission denied: ",
        ),
        (
            yaml("recipe/x.yaml", "lr: 0.1\n"),
            "own",
            OWN + "recipe=x",
            "Invalid value for '--config-dir': path 'own' is not readable; ",
        ),
        (
            put("out/x"),
            "out",
            "sweep results=out/x/y",
            "results=out/x/y: cannot be used (Permission denied); choose another path",
        ),
    ],
)
def test_a_lack_of_permission_is_said(prepare, closed, words, line, tmp_path, images):
    work = tmp_path / "work"
    work.mkdir()
    prepare(work, images)
    before = everything(work)
    mode = (work / closed).stat().st_mode
    (work / closed).chmod(0)
    try:
        done = command_with(without_roots_rights, *words.split(), cwd=work)
    finally:
        (work / closed).chmod(mode)
    check_refused(Said(done.returncode, done.stdout, done.stderr), line)
    assert everything(work) == before
