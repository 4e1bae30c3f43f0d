"""One run into its directory: repeatable, continued after a break, side by side with others."""

import copy
import json

import pytest
import torch
from support.runs import TINY, Order, StopAfter, all_rows, metrics, sweep_rows, train_here
from support.trainers import CPU

from resdepth.results import checkpoint
from resdepth.results.checkpoint import CheckpointWriter
from resdepth.results.metrics import read_rows, write_rows
from resdepth.sweep.observer import Observer
from resdepth.sweep.plan import make_plan
from resdepth.sweep.run import train_interleaved, train_run
from resdepth.training.trainer import Trainer


def test_one_configuration_and_seed_gives_one_csv(tmp_path):
    for name in ("a", "b"):
        train_here("depth=8", f"results={tmp_path / name}", *TINY)
        torch.rand(3)
    train_here("depth=8", "seed=1", f"results={tmp_path / 'c'}", *TINY)
    for variant in ("plain", "residual"):
        a, b, c = (next((tmp_path / n / "digits").glob(f"{variant}-*")) for n in "abc")
        assert metrics(a) == metrics(b) != metrics(c)


class StopInEpoch(Observer):
    """Breaks a run off as Ctrl-C would, at the second step of an epoch."""

    def __init__(self, epoch):
        self.epoch, self.started_after = epoch, None

    def on_start(self, run, epochs_done):
        self.started_after = epochs_done

    def on_step(self, run, iteration):
        if iteration == (self.epoch - 1) * run.schedule.steps_per_epoch + 2:
            raise KeyboardInterrupt


@pytest.mark.parametrize("observer", [StopAfter(2), StopInEpoch(3)])
@pytest.mark.parametrize("is_due", [True, False])
def test_a_stopped_run_goes_on_after_its_last_whole_epoch_without_a_row_lost_or_doubled(
    tmp_path, monkeypatch, observer, is_due
):
    observer = copy.copy(observer)
    monkeypatch.setattr(CheckpointWriter, "is_due", is_due)
    words = ("depth=8", "variant=plain", "recipe.epochs=4", "data.limit=300", "device=cpu")
    train_here(*words, f"results={tmp_path / 'whole'}")
    broken = (*words, f"results={tmp_path / 'broken'}")
    (planned,) = make_plan(broken).runs
    with pytest.raises(KeyboardInterrupt):
        train_run(planned, observer)
    assert checkpoint.load(planned.directory / "checkpoint.pt", planned.config, CPU)["epoch"] == 2
    assert not list(planned.directory.glob("*.part"))
    (planned,) = make_plan(broken).runs
    assert planned.state == "to be continued"
    watching = StopInEpoch(99)
    assert train_run(planned, watching).state == "finished"
    assert watching.started_after == 2
    name = planned.label
    assert metrics(tmp_path / "broken" / "digits" / name) == metrics(tmp_path / "whole" / "digits" / name)
    assert make_plan(broken).pending == ()
    assert not (planned.directory / "checkpoint.pt").exists()


def test_resume_cuts_rows_newer_than_the_checkpoint(tmp_path):
    words = ("depth=8", "variant=plain", "recipe.epochs=5", "data.limit=128", "device=cpu")
    train_here(*words, f"results={tmp_path / 'whole'}")
    broken = (*words, f"results={tmp_path / 'broken'}")
    (planned,) = make_plan(broken).runs
    saved = planned.directory / "checkpoint.pt"
    with pytest.raises(KeyboardInterrupt):
        train_run(planned, StopAfter(1))
    earlier = saved.read_bytes()
    with pytest.raises(KeyboardInterrupt):
        train_run(make_plan(broken).runs[0], StopAfter(3))  # which hears of the row it continues first
    saved.write_bytes(earlier)  # as if it had been killed
    assert [row.epoch for row in read_rows(planned.directory / "metrics.csv")] == [1, 2, 3]
    assert checkpoint.load(planned.directory / "checkpoint.pt", planned.config, CPU)["epoch"] == 1
    train_here(*broken)
    assert metrics(planned.directory) == metrics(tmp_path / "whole" / "digits" / planned.label)


def test_a_run_whose_loss_is_no_number_ends_as_diverged_with_its_rows(tmp_path):
    words = ("depth=8", "variant=plain", "recipe.lr=1000", "model.batch_norm=false", f"results={tmp_path}", *TINY)
    (outcome,) = train_here(*words, "recipe.epochs=9")
    assert outcome.state == "diverged"
    (folder,) = (tmp_path / "digits").iterdir()
    read = read_rows(folder / "metrics.csv")
    assert read[-1].diverged
    assert len(read) < 9
    assert json.loads((folder / "outcome.json").read_text())["state"] == "diverged"


@pytest.mark.gpu
def test_a_gpu_trains_the_same_net_on_the_same_data(tmp_path):
    for device in ("cpu", "cuda"):
        train_here("depth=8", "recipe.epochs=3", f"device={device}", f"results={tmp_path / device}")
    one, other = (
        read_rows(tmp_path / d / "digits" / "residual-8-s0,recipe.epochs=3" / "metrics.csv") for d in ("cpu", "cuda")
    )
    assert one[0].train_error == pytest.approx(other[0].train_error, abs=3)


@pytest.mark.usefixtures("elsewhere")
def test_a_checkpoint_without_its_rows_is_refused():
    words = ("depth=8", "variant=plain", "keep_checkpoint=true", *TINY)
    train_here(*words)
    (run,) = make_plan(words).runs
    (run.directory / "outcome.json").unlink()
    write_rows(run.directory / "metrics.csv", read_rows(run.directory / "metrics.csv")[:1])
    (outcome,) = train_here(*words)
    assert outcome.state == "failed"
    assert "lacks rows of epochs 1 to 2; remove checkpoint.pt" in outcome.message


def test_runs_in_turns_have_the_rows_of_runs_alone(tmp_path):
    words = ("depth=8,14", "variant=residual", *TINY)
    train_here(*words, f"results={tmp_path / 'alone'}")
    order = Order()
    outcomes = train_interleaved(make_plan([*words, f"results={tmp_path / 'turns'}"]).runs, 2, order)
    assert [o.state for o in outcomes] == ["finished"] * 2
    assert all_rows(tmp_path / "turns") == all_rows(tmp_path / "alone")
    # Both began before either had a row: they did take turns, the deeper first.
    assert order.heard[:2] == [("on_start", 14), ("on_start", 8)]


@pytest.mark.gpu
def test_runs_in_turns_on_a_gpu_are_the_runs_alone(tmp_path):
    words = ("depth=8,14", "recipe.epochs=3", "device=cuda")
    assert sweep_rows(tmp_path / "a", *words, "runs_per_job=4") == sweep_rows(tmp_path / "b", *words, "runs_per_job=1")


def test_a_run_that_has_started_needs_no_more_memory_later(monkeypatch, tmp_path):
    """The copy that is kept for a checkpoint is allocated before the first step."""
    done, steps, reserve = [], Trainer.steps, CheckpointWriter.reserve
    monkeypatch.setattr(Trainer, "steps", lambda *given: done.append("steps") or steps(*given))
    monkeypatch.setattr(CheckpointWriter, "reserve", lambda *given: done.append("reserve") or reserve(*given))
    train_here("depth=8", "variant=plain", f"results={tmp_path}", *TINY)
    assert done == ["reserve", "steps"]
