"""Runs that are started over, and checkpoints that are written while the training goes on."""

import os
import signal
import threading
from pathlib import Path

import pytest
import torch
from conftest import command_with, train_here
from test_faults import lines_of, nothing
from test_kill import all_rows
from test_training import metrics, training

import resdepth.results.atomic
from resdepth.cli.printing import print_summary
from resdepth.errors import ConfigError
from resdepth.results import checkpoint
from resdepth.results.checkpoint import CheckpointWriter
from resdepth.results.table import load_results
from resdepth.sweep.launch import execute
from resdepth.sweep.observer import Observer
from resdepth.sweep.plan import make_plan
from resdepth.sweep.run import train_run

WORDS = ("depth=8", "variant=plain", "recipe.epochs=4", "data.limit=128", "device=cpu")
RUN = "plain-8-s0,data.limit=128,recipe.epochs=4"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def restart():
    return execute(make_plan(WORDS, restart=True), Observer)


@pytest.mark.parametrize("command", ["sweep", "train"])
def test_a_restarted_run_is_trained_anew_and_each_old_one_is_kept(tmp_path, command):
    train_here(*WORDS)
    folder = tmp_path / "results" / "digits" / RUN
    row = metrics(folder)
    for n in (1, 2):
        (folder / "mark").write_text(str(n))
        done = command_with(nothing, command, *WORDS, "--restart", cwd=tmp_path)
        assert lines_of(done, 0) == []
        assert "1 to be started over, the old kept in .aside" in done.stdout
        kept = folder.parent / ".aside" / f"{RUN}.{n}"
        assert (kept / "mark").read_text() == str(n)
        assert metrics(kept) == metrics(folder) == row
        assert sorted(file.name for file in folder.iterdir()) == [
            "config.yaml", "environment.json", "metrics.csv", "outcome.json",
        ]  # fmt: skip


def test_nothing_reads_what_was_kept_aside(capsys):
    train_here(*WORDS)
    restart()
    table = load_results("results")
    assert (set(table.run), len(table)) == ({RUN}, 4)
    assert print_summary(Path("results"), None) == []
    assert capsys.readouterr().out.count("plain") == 2  # the table's row and the verdict
    assert [planned.state for planned in make_plan(WORDS).runs] == ["finished"]


def test_a_restart_refuses_a_folder_that_is_no_run_or_holds_another_one(tmp_path):
    folder = tmp_path / "results" / "digits" / RUN
    folder.mkdir(parents=True)
    (folder / "thesis.tex").write_text("x")
    done = command_with(nothing, "sweep", *WORDS, "--restart", cwd=tmp_path)
    (line,) = lines_of(done, 2)
    assert line.endswith("exists and is not a run of this program; choose another name=")
    (folder / "thesis.tex").unlink()
    train_here(*WORDS)
    config = folder / "config.yaml"
    config.write_text(config.read_text().replace("lr: 0.02", "lr: 0.3"))
    with pytest.raises(ConfigError, match=r"holds another run \(recipe\.lr=0\.3 there"):
        restart()
    assert not (folder.parent / ".aside").exists()


@pytest.mark.parametrize("content", [b"", b"depth: [", b"\xff\x00", b"a: 2001-99-99", b"- 1"])
def test_a_run_with_a_damaged_configuration_says_how_it_is_restarted_and_can_be(tmp_path, content):
    train_here(*WORDS)
    folder = tmp_path / "results" / "digits" / RUN
    before = metrics(folder)
    (folder / "config.yaml").write_bytes(content)
    (line,) = lines_of(command_with(nothing, "sweep", *WORDS, cwd=tmp_path), 2)
    assert line.endswith("move its folder away, or start it over with --restart")
    assert [outcome.state for outcome in restart()] == ["finished"]
    assert metrics(folder) == before
    assert (folder.parent / ".aside" / f"{RUN}.1" / "config.yaml").read_bytes() == content


def test_a_restart_that_cannot_keep_the_old_run_leaves_it_where_it_is(tmp_path):
    train_here(*WORDS)
    before = all_rows(tmp_path)
    (tmp_path / "results" / "digits" / ".aside").write_text("a file")
    (line,) = lines_of(command_with(nothing, "sweep", *WORDS, "--restart", cwd=tmp_path), 1)
    assert "cannot be kept in results/digits/.aside (File exists); mend that, or move it away" in line
    assert all_rows(tmp_path) == before


def test_a_restart_that_is_stopped_goes_on_without_starting_over_again(tmp_path):
    def stop_after_an_epoch():
        Observer.on_epoch = lambda *_: os.kill(os.getpid(), signal.SIGINT)

    train_here(*WORDS)
    words = ("sweep", *WORDS, "-q", "checkpoint_seconds=0")
    done = command_with(stop_after_an_epoch, *words, "--restart", cwd=tmp_path)
    (line,) = lines_of(done, 130)
    assert line == f"resdepth: stopped; to continue: resdepth {' '.join(words)}"
    assert len(metrics(tmp_path / "results" / "digits" / RUN)) == 1
    assert lines_of(command_with(nothing, *words, cwd=tmp_path), 0) == []
    new, old = (tmp_path / "results" / "digits" / RUN, tmp_path / "results" / "digits" / ".aside" / f"{RUN}.1")
    assert metrics(new) == metrics(old)
    assert not old.with_name(f"{RUN}.2").exists()


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
    assert not torch.equal(t.net.conv.weight, expected["conv.weight"])


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
        f"{planned.directory}: Input/output error; mend that and say the same command again, which continues the run"
    )
    assert sorted(file.name for file in planned.directory.iterdir()) == [
        "config.yaml", "environment.json", "failure.txt", "metrics.csv", "outcome.json",
    ]  # fmt: skip
    monkeypatch.undo()
    monkeypatch.chdir(tmp_path)
    whole = train_here(*WORDS, "results=whole")
    assert [outcome.state for outcome in (*whole, *train_here(*WORDS))] == ["finished"] * 2
    assert metrics(planned.directory) == metrics(tmp_path / "whole" / "digits" / RUN)
