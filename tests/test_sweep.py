"""The plan: directories, states, repeats, conflicts; and a sweep carried out as a whole."""

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import TINY, train_here

import resdepth.sweep.preflight
import resdepth.sweep.run
from resdepth.cli import printing
from resdepth.errors import ConfigError, RecordError
from resdepth.results.metrics import read_rows, write_rows
from resdepth.sweep.launch import execute
from resdepth.sweep.observer import Observer
from resdepth.sweep.plan import make_plan
from resdepth.sweep.preflight import estimate_seconds


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


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


def test_points_that_are_one_run_are_planned_once():
    plan = make_plan(["depth=8,8", "model.shortcut=A,B"])
    assert [run.label for run in plan.runs] == ["plain-8-s0", "residual-8-s0", "residual-8-s0,model.shortcut=B"]
    assert plan.repeated == 5


def test_own_data_are_told_apart_by_content_not_by_path(images):
    np.savez("a.npz", **images)
    np.savez("b.npz", **images)
    images["x_train"][0] = 0
    np.savez("c.npz", **images)
    one, same, other = (directories("depth=8", "variant=plain", "data=npz", f"data.path={n}.npz")[0] for n in "abc")
    assert one == same != other
    assert ",content=" in one


def test_train_makes_one_run_and_refuses_more():
    assert [r.label for r in make_plan(["depth=56", "variant=plain"], swept=False).runs] == ["plain-56-s0"]
    with pytest.raises(ConfigError, match="use resdepth sweep"):
        make_plan(["depth=20,56"], swept=False)


def test_planning_writes_nothing():
    make_plan(["experiment=digits"])
    assert not list(Path().iterdir())


def test_finished_runs_are_skipped_and_failed_ones_tried_again():
    words = ("depth=8", *TINY)
    train_here(*words)
    assert [run.state for run in make_plan(words).runs] == ["finished", "finished"]
    folder = make_plan(words).runs[0].directory
    (folder / "outcome.json").write_text(json.dumps({"state": "failed", "seconds": 1.0, "message": "x"}))
    assert [run.label for run in make_plan(words).pending] == [folder.name]


def test_a_directory_with_another_run_is_never_overwritten():
    train_here("depth=8", "variant=plain", "name=one", *TINY)
    (run,) = make_plan(["depth=8", "variant=plain", "name=one", *TINY]).runs
    config = run.directory / "config.yaml"
    config.write_text(config.read_text().replace("lr: 0.02", "lr: 0.3"))
    with pytest.raises(
        ConfigError, match=r"holds another run \(recipe.lr=0.3 there, 0.02 here\); choose another name="
    ):
        make_plan(["depth=8", "variant=plain", "name=one", *TINY])


def test_a_folder_that_is_no_run_is_left_alone():
    folder = Path("results/digits/plain-8-s0")
    folder.mkdir(parents=True)
    (folder / "thesis.tex").write_text("x")
    with pytest.raises(ConfigError, match="exists and is not a run of this program; choose another name="):
        make_plan(["depth=8", "variant=plain"])


def execute_here(*words):
    return execute(make_plan(words), Observer)


def test_a_sweep_goes_through_hydras_launcher_and_leaves_only_runs():
    outcomes = execute_here("depth=8", *TINY)
    assert [o.state for o in outcomes] == ["finished", "finished"]
    files = sorted(p.name for p in Path("results/digits/plain-8-s0,data.limit=128,recipe.epochs=2").iterdir())
    assert files == ["config.yaml", "environment.json", "metrics.csv", "outcome.json"]
    assert [p.name for p in Path("results").iterdir()] == ["digits"]


def test_a_sweep_over_data_or_names_reports_every_folder(capsys):
    words = ["depth=8", "variant=plain", "name=a,b", *TINY]
    plan = make_plan(words)
    execute(plan, Observer)
    printing.print_results(plan)
    printed = capsys.readouterr().out
    assert [printed.count(f"finished  {name}") for name in "ab"] == [1, 1]
    assert "a: plain: 8 layers" in printed
    assert "b: plain: 8 layers" in printed
    printing.announce(plan)
    assert "results in results/a and results/b." in capsys.readouterr().out


def test_hydras_change_of_folder_does_not_take_the_results_along():
    outcomes = execute_here("depth=8", "variant=plain", "hydra.job.chdir=true", *TINY)
    assert outcomes[0].state == "finished"
    assert len(list(Path("results/digits").iterdir())) == 1


def test_an_experiment_is_refused_a_config_dir_with_a_main_file(tmp_path):
    (tmp_path / "config.yaml").write_text("depth: 8\n")
    with pytest.raises(ConfigError, match=r"holds a config\.yaml"):
        make_plan([], tmp_path)


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


def test_a_checkpoint_without_its_rows_is_refused():
    words = ("depth=8", "variant=plain", "keep_checkpoint=true", *TINY)
    train_here(*words)
    (run,) = make_plan(words).runs
    (run.directory / "outcome.json").unlink()
    write_rows(run.directory / "metrics.csv", read_rows(run.directory / "metrics.csv")[:1])
    (outcome,) = train_here(*words)
    assert outcome.state == "failed"
    assert "lacks rows of epochs 1 to 2; remove checkpoint.pt" in outcome.message


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


def test_a_launcher_with_processes_of_its_own_does_the_same():
    outcomes = execute_here("depth=8", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", *TINY)
    assert [o.state for o in outcomes] == ["finished", "finished"]


def test_one_failed_run_does_not_stop_the_others(monkeypatch):
    original = resdepth.sweep.run.Trainer

    def breaks_on_plain(config, data):
        if config.variant == "plain":
            raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")
        return original(config, data)

    monkeypatch.setattr(resdepth.sweep.run, "Trainer", breaks_on_plain)
    plain, residual = execute_here("depth=8", *TINY)
    assert (plain.state, residual.state) == ("failed", "finished")
    assert "recipe.batch_size=64" in plain.message


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("device=cuda:99", r"device=cuda:99: torch finds no such CUDA device"),
        ("device=cpu precision=tf32", r"precision=tf32: is CUDA's; on cpu choose fp32 or bf16"),
        (
            "results=/dev/null/x",
            r"results=/dev/null/x: /dev/null/x/digits cannot be written to \(Not a directory\); say results=FOLDER",
        ),
        ("data.validation=2000", r"data.validation=2000: leaves fewer than 2 training images"),
    ],
)
def test_what_only_device_or_data_can_tell_is_found_before_the_first_run(words, message):
    with pytest.raises(ConfigError, match=message):
        execute_here("depth=8", *words.split())
    assert not list(Path().iterdir())


def test_the_estimate_grows_with_depth_and_length(monkeypatch):
    monkeypatch.setattr(resdepth.sweep.preflight, "_step_seconds", lambda _: 0.01)

    def seconds(*words):
        return estimate_seconds(make_plan(["variant=plain", "device=cpu", *words]))

    assert seconds("depth=8") == pytest.approx(0.01 * 12 * 20)
    assert seconds("depth=8", "recipe.epochs=2000") == pytest.approx(1 * 12 * 20)
    assert seconds("depth=8,8", "seed=0,1") == pytest.approx(2 * seconds("depth=8"))
    assert seconds("depth=56") == pytest.approx(10.5 * seconds("depth=8"), rel=0.01)


def test_the_estimate_is_timed_on_the_device():
    assert 0 < estimate_seconds(make_plan(["depth=8", "device=cpu"])) < 3600
