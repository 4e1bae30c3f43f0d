"""environment.json: versions and threads, no absolute path, and where a continued run began."""

import json

import numpy as np
import pytest
import torch
from support.platforms import posix
from support.runs import TINY, train_here

from resdepth.results import environment
from resdepth.sweep.plan import make_plan

pytestmark = pytest.mark.usefixtures("elsewhere")


@pytest.fixture(autouse=True)
def _the_commit_is_asked_for_again():
    environment._commit.cache_clear()
    yield
    environment._commit.cache_clear()


def test_environment_and_configuration_hold_no_absolute_path(tmp_path, images):
    np.savez(tmp_path / "mine.npz", **images)
    words = ("depth=8", "data=npz", f"data.path={tmp_path}/mine.npz", f"results={tmp_path}/r", "recipe.epochs=1")
    train_here(*words, "variant=plain")
    (folder,) = (tmp_path / "r" / "mine").iterdir()
    for name in ("config.yaml", "environment.json", "outcome.json", "metrics.csv"):
        assert str(tmp_path) not in (folder / name).read_text()
    environment = json.loads((folder / "environment.json").read_text())
    assert environment["torch"] == torch.__version__
    assert environment["threads"] == torch.get_num_threads()


def test_a_run_continued_elsewhere_names_both_environments():
    words = ("depth=8", "variant=plain", "keep_checkpoint=true", *TINY)
    train_here(*words)
    (run,) = make_plan(words).runs
    path = run.directory / "environment.json"
    for threads in (7, 8):
        path.write_text(path.read_text().replace('"threads": 1', f'"threads": {threads}', 1))
        (run.directory / "outcome.json").unlink()
        train_here(*words)
    here = json.loads(path.read_text())
    chain = (here, here["continued_from"], here["continued_from"]["continued_from"])
    assert [part["threads"] for part in chain] == [1, 8, 7]
    (run.directory / "outcome.json").unlink()
    (run.directory / "checkpoint.pt").unlink()
    train_here(*words)  # from the start
    assert "continued_from" not in json.loads(path.read_text())


@posix
def test_a_commit_that_git_does_not_tell_is_none(tmp_path, monkeypatch):
    """As in a checkout of another user, for which git refuses to answer."""
    git = tmp_path / "git"
    git.write_text("#!/bin/sh\nexit 128\n")
    git.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    environment.write(tmp_path, torch.device("cpu"))
    assert json.loads((tmp_path / "environment.json").read_text())["commit"] is None
