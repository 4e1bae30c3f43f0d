"""A run's directory: its name, its state, and what is never overwritten."""

from pathlib import Path

import numpy as np
import pytest
from support.runs import TINY, train_here

from resdepth.config.keys import run_identity
from resdepth.config.schema import RunConfig
from resdepth.errors import ConfigError, RecordError, RunError
from resdepth.report.comparison import comparisons
from resdepth.results.files import lock
from resdepth.results.run_directory import describe_differences
from resdepth.results.table import load_results
from resdepth.sweep.plan import make_plan

pytestmark = pytest.mark.usefixtures("elsewhere")


def directories(*overrides):
    return [run.directory.as_posix() for run in make_plan(overrides).runs]


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        ("depth=20", "results/digits/plain-20-s0"),
        ("depth=20 seed=3 recipe.lr=0.05", "results/digits/plain-20-s3,recipe.lr=0.05"),
        ("depth=20 recipe.lr=0.02", "results/digits/plain-20-s0"),  # the default
        ("depth=20 recipe.milestones=[0.3,0.6]", "results/digits/plain-20-s0,recipe.milestones=0.3+0.6"),
        ("depth=20 data=cifar10", "results/cifar10/plain-20-s0"),
        ("depth=20 data=cifar10 name=mine", "results/mine/plain-20-s0,data=cifar10"),
        ("depth=20 recipe=cifar10 recipe.epochs=1", "results/digits/plain-20-s0,recipe=cifar10,recipe.epochs=1"),
        ("depth=20 recipe=mnist", "results/digits/plain-20-s0,recipe=mnist"),
        ("depth=20 experiment=he2015_figure6", "results/he2015_figure6/plain-20-s0"),
        ("depth=20 results=elsewhere", "elsewhere/digits/plain-20-s0"),
        ("depth=20 precision=bf16", "results/digits/plain-20-s0,precision=bf16"),
        ("depth=20 device=cpu checkpoint_seconds=5", "results/digits/plain-20-s0"),  # no part of a run's identity
        ("depth=20 model.shortcut=B", "results/digits/plain-20-s0"),  # a plain net has none
    ],
)
def test_a_directory_is_named_by_what_differs_from_the_defaults(overrides, expected):
    assert directories(*overrides.split(), "variant=plain") == [expected]


def test_a_long_name_is_cut_and_stays_unique():
    words = [f"recipe.{k}" for k in ("momentum=0.123456789", "weight_decay=0.00123456789", "gamma=0.123456789")]
    words += ["recipe.warmup_error=12.3456789", "model.width=24", "recipe.batch_size=100"]
    names = [Path(d).name for d in directories("depth=20", "variant=plain", "recipe.lr=0.1,0.2", *words)]
    assert len(set(names)) == 2
    assert all(len(name) <= 120 for name in names)


def test_own_data_are_told_apart_by_content_not_by_path(images):
    np.savez("a.npz", **images)
    np.savez("b.npz", **images)
    images["x_train"][0] = 0
    np.savez("c.npz", **images)
    words = ("depth=8", "variant=plain", "data=npz")
    for name in ((), ("data.name=mine",), ("name=exp",)):
        one, same, other = (Path(directories(*words, f"data.path={n}.npz", *name)[0]) for n in "abc")
        assert one.name == same.name != other.name
        assert ",content=" in one.name
        assert (one == same) == bool(name)


def test_own_data_by_another_name_are_told_how_to_continue(images):
    np.savez("mine.npz", **images)
    words = ["depth=8", "variant=plain", "data=npz", "data.path=mine.npz", "recipe.epochs=1", "name=exp"]
    train_here(*words, "data.name=npz")
    with pytest.raises(ConfigError, match=r"holds the same run under another name of the data; set data.name=npz$"):
        make_plan(words)
    assert not make_plan([*words, "data.name=npz"]).pending


def test_the_number_of_classes_is_recorded_and_tells_no_runs_apart(images):
    np.savez("mine.npz", **images)
    words = ["depth=8,14", "variant=plain", "data=npz", "data.path=mine.npz", "recipe.epochs=1"]
    (outcome, _) = train_here(*words)
    assert outcome.state == "finished"
    older, newer = (run.directory for run in make_plan(words).runs)
    config = older / "config.yaml"
    assert "  classes: 3\n" in config.read_text()
    # A version that did not record it.
    config.write_text(config.read_text().replace("  classes: 3\n", ""))
    assert [run.state for run in make_plan(words).runs] == ["finished", "finished"]
    table = load_results("results")
    assert table.groupby("depth")["data.classes"].first().dropna().to_dict() == {14: 3}
    assert len(comparisons(table)) == 1
    assert newer.name == older.name.replace("8", "14", 1)


def test_a_directory_with_another_run_is_never_overwritten():
    train_here("depth=8", "variant=plain", "name=one", *TINY)
    (run,) = make_plan(["depth=8", "variant=plain", "name=one", *TINY]).runs
    config = run.directory / "config.yaml"
    config.write_text(config.read_text().replace("lr: 0.02", "lr: 0.3"))
    with pytest.raises(
        ConfigError, match=r"holds another run \(recipe.lr=0.3 there, 0.02 here\); choose another name="
    ):
        make_plan(["depth=8", "variant=plain", "name=one", *TINY])


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({}, ""),
        ({"depth": 8, "seed": 1, "precision": "bf16"}, "depth=20 there, 8 here, seed=0 there, 1 here, precision=fp32 "),
        ({"depth": 8, "seed": 1, "precision": "bf16", "variant": "plain"}, " and 1 more"),
    ],
)
def test_three_differences_are_named_and_the_others_counted(keys, expected):
    there = run_identity(RunConfig(variant="residual", depth=20))
    found = describe_differences(there, RunConfig(**{"variant": "residual", "depth": 20} | keys))
    assert expected in found
    assert found.count(" there, ") == min(3, len(keys))
    assert ("more" in found) == (len(keys) > 3)


def test_a_folder_that_is_no_run_is_left_alone():
    folder = Path("results/digits/plain-8-s0")
    folder.mkdir(parents=True)
    (folder / "thesis.tex").write_text("x")
    with pytest.raises(ConfigError, match="exists and is not a run of this program; choose another name="):
        make_plan(["depth=8", "variant=plain"])


def test_what_a_broken_start_leaves_is_no_obstacle():
    (run,) = make_plan(["depth=8", "variant=plain", *TINY]).runs
    run.directory.mkdir(parents=True)
    for name in ("config.yaml.part", "failure.txt"):
        (run.directory / name).write_text("")
    assert make_plan(["depth=8", "variant=plain", *TINY]).runs[0].state == "new"


@pytest.mark.parametrize("content", ["nonsense\n", ""])
def test_a_finished_run_with_a_damaged_csv_is_not_taken_for_finished(content):
    words = ("depth=8", "variant=plain", *TINY)
    train_here(*words)
    (run,) = make_plan(words).runs
    (run.directory / "metrics.csv").write_text(content)
    with pytest.raises(RecordError, match=r"metrics\.csv.*away"):
        make_plan(words)


def test_a_file_system_without_locks_is_named(tmp_path, monkeypatch):
    def acquire(*_, **__):
        raise NotImplementedError("FileSystem does not appear to support flock")

    monkeypatch.setattr(lock.FileLock, "acquire", acquire)
    said = "its file system has no file locks; choose results=FOLDER on another one"
    with pytest.raises(RunError, match=said), lock.locked(tmp_path):
        pass
    (tmp_path / lock.LOCK).touch()
    assert not lock.is_locked(tmp_path)
