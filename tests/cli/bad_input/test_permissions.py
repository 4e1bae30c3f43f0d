"""Files and folders that the user may not read or write."""

import ctypes
import os
import subprocess
import sys

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
from support.commands import ROOT


def drop_the_rights_of_root():
    """So that permissions hold for the super-user too: no CAP_DAC_OVERRIDE, no CAP_DAC_READ_SEARCH."""
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    for capability in (1, 2):
        if prctl(24, capability, 0, 0, 0):  # PR_CAPBSET_DROP
            raise OSError(ctypes.get_errno(), "prctl")


def without_rights(words, cwd):
    is_root = hasattr(os, "geteuid") and os.geteuid() == 0
    if is_root and not sys.platform.startswith("linux"):
        pytest.skip("root's rights can be dropped on Linux only; run the tests as a user")
    env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(
            [sys.executable, "-m", "resdepth", *words], cwd=cwd, env=env, capture_output=True, text=True, timeout=300,
            check=False, preexec_fn=drop_the_rights_of_root if is_root else None,
        )  # fmt: skip
    except subprocess.SubprocessError:
        pytest.skip("this system does not let root's rights be dropped; run the tests as a user")
    return Said(done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize(
    ("prepare", "closed", "words", "line"),
    [
        (spoilt(), "mine.npz", NPZ, "data.path=mine.npz: is not an .npz file of plain arrays ([Errno 13] Permission"),
        (
            spoilt(),
            ".",
            "sweep data=npz data.path=sub/mine.npz",
            "data.path=sub/mine.npz: cannot be used (Permission denied); name another place",
        ),
        (tree(), "train", FOLDER, "data.path=train: Permission denied; needs train/<class>/*"),
        (tree(), "train/a", FOLDER, "data.path=train: Found no valid file for the classes a"),
        (tree(), "train/a/000.png", FOLDER, "data.path=train/a/000.png: cannot be read as an image ([Errno 13]"),
        (
            put("results/x"),
            "results",
            "sweep",
            "results=results: results/digits/plain-20-s0 cannot be used (Permission denied); set results=FOLDER",
        ),
        (run_of_ones_own(), "results", "plot results", "Invalid value for 'results': path 'results' is not readable; "),
        (
            run_of_ones_own(),
            "results",
            "summary results",
            "Invalid value for 'results': path 'results' is not readable; ",
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
            "results=out/x/y: cannot be used (Permission denied); name another place",
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
        said = without_rights(words.split(), work)
    finally:
        (work / closed).chmod(mode)
    check_refused(said, line)
    assert everything(work) == before
