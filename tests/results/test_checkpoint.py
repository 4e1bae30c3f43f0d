"""Checkpoints: a continued run is the same run, and they are written while the training goes on."""

import threading

import pytest
import torch
from support.runs import metrics, rows, train_here
from support.trainers import CPU, training

import resdepth.results.atomic
from resdepth.results import checkpoint
from resdepth.results.checkpoint import CheckpointWriter
from resdepth.sweep.observer import Observer
from resdepth.sweep.plan import make_plan
from resdepth.sweep.run import train_run

pytestmark = pytest.mark.usefixtures("elsewhere")


def test_a_run_continued_from_a_checkpoint_is_the_same_run(tmp_path):
    whole = rows(training().epochs())
    first = training()
    epochs = first.epochs()
    start = rows([next(epochs)])
    checkpoint.save(tmp_path / "checkpoint.pt", first.config, first.state_dict())
    second = training()
    second.load_state_dict(checkpoint.load(tmp_path / "checkpoint.pt", second.config, CPU))
    assert start + rows(second.epochs()) == whole


WORDS = ("depth=8", "variant=plain", "recipe.epochs=4", "data.limit=128", "device=cpu")
RUN = "plain-8-s0,data.limit=128,recipe.epochs=4"


class Disk:
    """Stands for os.fsync: holds up whoever calls it outside the main thread until it is let go."""

    def __init__(self):
        self.is_reached, self.is_free = threading.Event(), threading.Event()

    def fsync(self, _):
        if threading.current_thread() is not threading.main_thread():
            self.is_reached.set()
            assert self.is_free.wait(60)


def test_epochs_go_on_while_a_checkpoint_is_written(tmp_path, monkeypatch):
    disk = Disk()
    monkeypatch.setattr(resdepth.results.atomic.os, "fsync", disk.fsync)
    (planned,) = make_plan([*WORDS, "checkpoint_seconds=0", "keep_checkpoint=true"]).runs
    path = planned.directory / "checkpoint.pt"
    seen = []

    class Watcher(Observer):
        def on_epoch(self, run, record):
            assert disk.is_reached.wait(60)
            seen.append((record.epoch, path.exists()))
            if record.epoch == 3:
                disk.is_free.set()

    assert train_run(planned, Watcher()).state == "finished"
    # Three epochs ended while the checkpoint of the first was on its way.
    assert seen[:3] == [(1, False), (2, False), (3, False)]
    assert checkpoint.load(path, planned.config, torch.device("cpu"))["epoch"] == 4


def test_a_checkpoint_holds_the_moment_it_was_asked_for_though_the_net_is_trained_on(tmp_path, monkeypatch):
    t = training()
    epochs = t.epochs()
    next(epochs)
    path, is_free = tmp_path / "checkpoint.pt", threading.Event()
    expected = {key: value.clone() for key, value in t.net.state_dict().items()}
    with CheckpointWriter(path, t.config, lambda: is_free.wait(60)) as checkpoints:
        checkpoints.save(t.state_dict())
        assert checkpoints.is_busy
        next(epochs)
        is_free.set()
    state = checkpoint.load(path, t.config, torch.device("cpu"))
    assert state["epoch"] == 1
    assert all(torch.equal(state["tensors"][key], value) for key, value in expected.items())
    assert not torch.equal(t.net.layer.weight, expected["layer.weight"])


def test_a_checkpoint_that_cannot_be_written_fails_the_run_in_one_line_and_leaves_nothing(tmp_path, monkeypatch):
    def fails_on_the_checkpoint(_):
        if (planned.directory / "checkpoint.pt.part").exists():
            assert threading.current_thread() is not threading.main_thread()
            raise OSError(5, "Input/output error")

    (planned,) = make_plan([*WORDS, "checkpoint_seconds=0"]).runs
    monkeypatch.setattr(resdepth.results.atomic.os, "fsync", fails_on_the_checkpoint)
    outcome = train_run(planned, Observer())
    assert outcome.state == "failed"
    assert outcome.message == (
        f"{planned.directory}: Input/output error; fix that and run the same command again, which continues the run"
    )
    assert sorted(file.name for file in planned.directory.iterdir()) == [
        "config.yaml", "environment.json", "failure.txt", "metrics.csv", "outcome.json",
    ]  # fmt: skip
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    whole = train_here(*WORDS, "results=whole")
    assert [outcome.state for outcome in (*whole, *train_here(*WORDS))] == ["finished"] * 2
    assert metrics(planned.directory) == metrics(tmp_path / "whole" / "digits" / RUN)
