"""weights/epoch-N.safetensors: what is kept, what other programs read, and what is refused."""

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from support.platforms import linux
from support.runs import TINY, StopAfter, all_rows, train_here
from support.trainers import training

from resdepth.errors import RecordError
from resdepth.models.net import copy_tensors
from resdepth.results.checkpoint import CheckpointWriter, load_weights, save_weights, weights_path
from resdepth.results.metrics import METRICS, read_rows
from resdepth.sweep.observer import Observer
from resdepth.sweep.plan import make_plan
from resdepth.sweep.run import train_run


def files(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.safetensors"))


@pytest.mark.parametrize(
    ("kept", "expected"),
    [
        ("none", []),
        ("last", ["weights/epoch-2.safetensors"]),
        ("all", ["weights/epoch-1.safetensors", "weights/epoch-2.safetensors"]),
    ],
)
def test_the_weights_asked_for_are_kept(kept, expected, elsewhere, tmp_path):
    train_here("depth=8", "variant=plain", f"keep_weights={kept}", *TINY)
    (folder,) = tmp_path.glob("results/digits/plain-8-*")
    assert files(folder) == expected


def test_keeping_weights_is_not_part_of_a_runs_identity(elsewhere):
    train_here("depth=8", "variant=plain", *TINY)
    (run,) = make_plan(["depth=8", "variant=plain", "keep_weights=all", *TINY]).runs
    assert run.state == "finished"


@pytest.mark.parametrize("keys", [{}, {"precision": "bf16"}, {"memory_format": "channels_last"}])
def test_a_net_loaded_from_its_weights_computes_the_same(keys, tmp_path):
    t = training(**keys)
    next(t.epochs())
    save_weights(tmp_path, t.config, 1, t.weights)
    loaded = load_weights(weights_path(tmp_path, 1), t.config)
    assert {v.dtype for v in loaded.values()} == {torch.float32}
    assert all(torch.equal(value, t.weights[name]) for name, value in loaded.items())
    other = training()
    copy_tensors(other.net.state_dict(), loaded)
    if not keys.get("precision"):
        x = torch.rand(4, 1, 8, 8)
        assert torch.equal(other.net.eval()(x), t.net.eval()(x))


def test_the_file_names_its_run_in_its_metadata(tmp_path):
    t = training()
    save_weights(tmp_path, t.config, 3, t.weights)
    with safe_open(weights_path(tmp_path, 3), framework="pt") as file:
        metadata = json.loads(file.metadata()["resdepth"])
    assert metadata["epoch"] == 3
    assert metadata["identity"]["variant"] == "residual"


def test_weights_of_another_run_are_refused(tmp_path):
    t = training()
    save_weights(tmp_path, t.config, 1, t.weights)
    with pytest.raises(RecordError, match=r"is of another run \(seed=0 there, 1 here\); remove it"):
        load_weights(weights_path(tmp_path, 1), replace(t.config, seed=1))


@pytest.mark.parametrize("damage", [lambda b: b[: len(b) // 2], lambda b: b"", lambda b: b"x" * 100])
def test_damaged_weights_are_refused(damage, tmp_path):
    t = training()
    save_weights(tmp_path, t.config, 1, t.weights)
    path = weights_path(tmp_path, 1)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(RecordError, match="is not a file of weights"):
        load_weights(path, t.config)


@pytest.mark.parametrize("model", ["conv", "dense"])
def test_a_continued_run_has_the_weights_of_an_uninterrupted_one(model, elsewhere, tmp_path):
    words = ("depth=8", "variant=residual", f"model={model}", "keep_weights=all", "checkpoint_seconds=0", *TINY)
    (run,) = make_plan([*words, "name=broken"]).runs
    with pytest.raises(KeyboardInterrupt):
        train_run(run, StopAfter(1))
    train_here(*words, "name=broken")
    train_here(*words, "name=whole")
    label = run.directory.name
    assert len(files(tmp_path / "results/whole")) == 2
    broken, whole = (tmp_path / "results" / name / label for name in ("broken", "whole"))
    assert all_rows(broken) == all_rows(whole)
    assert files(broken) == files(whole)
    for file in files(whole):
        assert (broken / file).read_bytes() == (whole / file).read_bytes()


def test_a_diverged_run_keeps_no_weights_of_its_last_epoch(elsewhere, tmp_path):
    words = (
        "depth=8",
        "variant=plain",
        "keep_weights=all",
        "recipe.lr=1000",
        "model.batch_norm=false",
        *TINY,
        "recipe.epochs=6",
    )
    (run,) = make_plan(words).runs
    assert train_run(run, Observer()).state == "diverged"
    assert f"epoch-{len(read_rows(run.directory / METRICS))}.safetensors" not in {
        path.name for path in tmp_path.rglob("*")
    }
    assert files(tmp_path)


def test_half_written_weights_of_a_killed_run_are_removed(elsewhere, tmp_path):
    words = ("depth=8", "variant=plain", "keep_weights=last", *TINY)
    (run,) = make_plan(words).runs
    train_here(*words)
    (run.directory / "outcome.json").unlink()
    (run.directory / "weights/epoch-2.safetensors").rename(run.directory / "weights/epoch-1.safetensors.part")
    train_here(*words)
    assert [path.name for path in (run.directory / "weights").iterdir()] == ["epoch-2.safetensors"]


def test_an_epochs_weights_are_written_before_its_checkpoint(elsewhere, tmp_path, monkeypatch):
    """A run killed in between continues from the checkpoint before, and writes them again."""
    seen = []

    def save(self):
        seen.append(files(tmp_path))

    monkeypatch.setattr(CheckpointWriter, "save", save)
    train_here("depth=8", "variant=plain", "keep_weights=all", "keep_checkpoint=true", "checkpoint_seconds=0", *TINY)
    assert [len(names) for names in seen] == [1, 2]


@linux
def test_a_folder_whose_name_is_not_utf8_holds_weights_as_any_other(tmp_path):
    t = training()
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff"))
    folder.mkdir()
    save_weights(folder, t.config, 1, t.weights)
    assert load_weights(weights_path(folder, 1), t.config).keys() == t.weights.keys()


def test_weights_that_cannot_be_read_are_not_called_damaged(tmp_path):
    t = training()
    weights_path(tmp_path, 1).mkdir(parents=True)
    with pytest.raises(RecordError, match=r"epoch-1.safetensors: cannot be read \(Is a directory\); fix that$"):
        load_weights(weights_path(tmp_path, 1), t.config)
