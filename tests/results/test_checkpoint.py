"""Checkpoints: a continued run is the same run, and they are written while the training goes on."""

import io
import threading
import zipfile
from hashlib import sha256

import pytest
import torch
from support.runs import metrics, rows, train_here
from support.trainers import CPU, training

import resdepth.results.files.atomic
from resdepth.config.keys import run_identity
from resdepth.config.schema import RunConfig
from resdepth.errors import RunError
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


def test_torch_opens_a_checkpoint_and_executes_nothing(tmp_path):
    t = training()
    next(t.epochs())
    path = tmp_path / "checkpoint.pt"
    checkpoint.save(path, t.config, t.state_dict())
    for options in ({}, {"mmap": True}):
        content = torch.load(path, weights_only=True, **options)
        assert content["state"]["epoch"] == 1
        assert torch.equal(content["state"]["tensors"]["layer.weight"], t.net.layer.weight)
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        comment = archive.comment.decode()
    seal = f"resdepth-checkpoint 4 {sha256(path.read_bytes()[:-86]).hexdigest()}"
    assert path.read_bytes()[-86:].decode() == comment == seal


def test_a_checkpoint_of_format_3_is_continued(tmp_path):
    t = training()
    epochs = t.epochs()
    next(epochs)
    path = tmp_path / "checkpoint.pt"
    buffer = io.BytesIO()
    torch.save({"identity": run_identity(t.config), "state": t.state_dict()}, buffer)
    payload = buffer.getvalue()
    path.write_bytes(b"resdepth-checkpoint 3 " + sha256(payload).hexdigest().encode() + b"\n" + payload)
    continued = training()
    continued.load_state_dict(checkpoint.load(path, t.config, CPU))
    assert rows(continued.epochs()) == rows(epochs)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(RunError, match="the checkpoint is damaged"):
        checkpoint.load(path, t.config, CPU)


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
    monkeypatch.setattr(resdepth.results.files.atomic.os, "fsync", disk.fsync)
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
        checkpoints.keep(t.state_dict())
        checkpoints.save()
        assert not checkpoints.is_due  # while one is being written
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
    monkeypatch.setattr(resdepth.results.files.atomic.os, "fsync", fails_on_the_checkpoint)
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


@pytest.mark.parametrize(
    ("seconds", "cost", "trained", "since", "expected"),
    [
        (60, 0.01, 10, 0.25, True),  # 4 % of the time since the last
        (60, 0.01, 10, 0.15, False),  # 7 %
        (60, 0.01, 100, 0.25, False),  # a kill would lose 0.25 % of the time trained
        (60, 0.01, 100, 1.1, True),
        (60, 9.0, 100, 59, False),
        (60, 9.0, 100, 61, True),
        (0, 9.0, 100, 0, True),
    ],
)
def test_a_checkpoint_is_due_when_it_costs_little_or_much_would_be_lost(
    seconds, cost, trained, since, expected, tmp_path, monkeypatch
):
    now = 1000.0
    monkeypatch.setattr(resdepth.results.checkpoint.time, "monotonic", lambda: now)
    config = RunConfig(checkpoint_seconds=seconds)
    with CheckpointWriter(tmp_path / "checkpoint.pt", config, lambda: None) as checkpoints:
        monkeypatch.setattr(checkpoints, "_cost", cost)
        monkeypatch.setattr(checkpoints, "_saved", now + trained - since)
        now += trained
        assert checkpoints.is_due == expected


def test_a_full_disk_at_a_stop_leaves_the_checkpoint_before(tmp_path, monkeypatch):
    t, path = training(), tmp_path / "checkpoint.pt"
    epochs = t.epochs()

    def stopped():
        with CheckpointWriter(path, t.config, lambda: None) as checkpoints:
            next(epochs)
            checkpoints.keep(t.state_dict())
            checkpoints.save()
            checkpoints._writing.result()
            next(epochs)
            checkpoints.keep(t.state_dict())
            monkeypatch.setattr(resdepth.results.files.atomic.os, "fsync", _full)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert checkpoint.load(path, t.config, torch.device("cpu"))["epoch"] == 1


def _full(_):
    raise OSError(28, "No space left on device")


def test_the_copy_of_the_state_is_allocated_before_training(tmp_path):
    t = training()
    with CheckpointWriter(tmp_path / "checkpoint.pt", t.config, lambda: None) as checkpoints:
        checkpoints.reserve(t.state_dict())
        before = [copy.data_ptr() for copy in checkpoints._copies.values()]
        for _ in zip(range(2), t.epochs(), strict=False):
            checkpoints.keep(t.state_dict())
            assert [copy.data_ptr() for copy in checkpoints._kept["tensors"].values()] == before
        assert before


@pytest.mark.parametrize("memory_format", ["contiguous", "channels_last"])
def test_the_state_travels_to_the_host_in_one_piece_and_unchanged(memory_format, tmp_path):
    t, path = training("residual", memory_format=memory_format), tmp_path / "checkpoint.pt"
    epochs = t.epochs()
    with CheckpointWriter(path, t.config, lambda: None) as checkpoints:
        next(epochs)
        kept = {name: tensor.detach().clone() for name, tensor in t.state_dict()["tensors"].items()}
        checkpoints.keep(t.state_dict())
        next(epochs)
        on_host = checkpoints._on_host()["tensors"]
        checkpoints.save()
    assert len({tensor.untyped_storage().data_ptr() for tensor in on_host.values()}) == 1
    for there in (on_host, checkpoint.load(path, t.config, torch.device("cpu"))["tensors"]):
        assert there.keys() == kept.keys()
        assert all(torch.equal(there[name], tensor) for name, tensor in kept.items())
        assert all(there[name].stride() == tensor.stride() for name, tensor in kept.items())
