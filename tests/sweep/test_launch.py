"""A sweep carried out through Hydra's launcher."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from support.runs import TINY, execute_here

import resdepth.sweep.run
from resdepth.cli import plans, printing
from resdepth.errors import ConfigError
from resdepth.sweep.jobs import launch as launching
from resdepth.sweep.jobs.launch import launch
from resdepth.sweep.observer import Observer
from resdepth.sweep.plan import make_plan
from resdepth.sweep.preflight import preflight

pytestmark = pytest.mark.usefixtures("elsewhere")


def test_a_sweep_goes_through_hydras_launcher_and_leaves_only_runs():
    outcomes = execute_here("depth=8", *TINY)
    assert [o.state for o in outcomes] == ["finished", "finished"]
    files = sorted(p.name for p in Path("results/digits/plain-8-s0,data.limit=128,recipe.epochs=2").iterdir())
    assert files == ["config.yaml", "environment.json", "metrics.csv", "outcome.json"]
    assert [p.name for p in Path("results").iterdir()] == ["digits"]


def test_a_sweep_over_data_or_names_reports_every_folder(capsys):
    words = ["depth=8", "variant=plain", "name=a,b", *TINY]
    plan = make_plan(words)
    launch(preflight(plan), Observer())
    printing.print_results(plan)
    printed = capsys.readouterr().out
    assert [printed.count(f"finished  {name}") for name in "ab"] == [1, 1]
    assert "a: plain: 8 layers" in printed
    assert "b: plain: 8 layers" in printed
    plans.announce(plan)
    assert "results in results/a and results/b." in capsys.readouterr().out


def test_hydras_change_of_folder_does_not_take_the_results_along():
    outcomes = execute_here("depth=8", "variant=plain", "hydra.job.chdir=true", *TINY)
    assert outcomes[0].state == "finished"
    assert len(list(Path("results/digits").iterdir())) == 1


@pytest.mark.slow
def test_a_launcher_with_processes_of_its_own_does_the_same():
    outcomes = execute_here("depth=8", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", *TINY)
    assert [o.state for o in outcomes] == ["finished", "finished"]


def test_a_job_that_its_launcher_starts_again_loses_no_result(monkeypatch):
    def twice(task, count, *_):
        for number in range(count):
            task(SimpleNamespace(job=number))
        return [task(SimpleNamespace(job=number)) for number in range(count)]

    monkeypatch.setattr(launching, "multirun", twice)
    outcomes = execute_here("depth=8", "hydra/launcher=joblib", "runs_per_job=2", *TINY)
    assert [o.state for o in outcomes] == ["finished", "finished"]


def test_one_failed_run_does_not_stop_the_others(monkeypatch):
    original = resdepth.sweep.run.Trainer

    def breaks_on_plain(config, data, stream):
        if config.variant == "plain":
            raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")
        return original(config, data, stream)

    monkeypatch.setattr(resdepth.sweep.run, "Trainer", breaks_on_plain)
    plain, residual = execute_here("depth=8", *TINY)
    assert (plain.state, residual.state) == ("failed", "finished")
    assert "recipe.batch_size=64" in plain.message


@pytest.mark.slow
def test_the_device_is_checked_in_the_job_of_another_launcher_which_may_run_on_another_machine():
    words = ["depth=8", "device=cuda:99", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", *TINY[:2]]
    outcomes = launch(preflight(make_plan(words)), Observer())
    assert [outcome.state for outcome in outcomes] == ["failed", "failed"]
    assert all(o.message.startswith("device=cuda:99: torch finds no such CUDA device here") for o in outcomes)
    files = {p.name for run in Path("results/digits").iterdir() for p in run.iterdir()}
    assert files == {"outcome.json", "failure.txt"}
    with pytest.raises(ConfigError, match="device=cuda:99: torch finds no such CUDA device here"):
        preflight(make_plan([*words[:2], *TINY[:2]]))
    # On a machine that has the device, the same command trains them.
    words[1] = "device=cpu"
    assert [o.state for o in execute_here(*words)] == ["finished", "finished"]
