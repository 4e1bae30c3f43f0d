"""Which nets are measured, and what is said where there are none."""

import re
import shlex
import shutil
from pathlib import Path

import pytest
from support.images import write_npz
from support.runs import TINY, train_here

from resdepth.errors import ConfigError
from resdepth.probes.rows import PROBES
from resdepth.probes.selection import select, train_command
from resdepth.results.run_directory import load_config
from resdepth.sweep.plan import make_plan

GRADIENTS, IDENTITY = PROBES["gradients"], PROBES["identity"]


def keys(selection):
    return [net.key for net in selection.nets]


def train(kept="all", *more):
    train_here("depth=8", "variant=plain,residual", f"keep_weights={kept}", "name=exp", *TINY, *more)


LABELS = [f"{variant}-8-s0,data.limit=128,recipe.epochs=2" for variant in ("plain", "residual")]


def test_overrides_are_nets_at_initialisation_beside_the_runs_of_a_sweep(elsewhere):
    selection = select(GRADIENTS, ["depth=8,14", "variant=plain", "name=exp"], None)
    assert keys(selection) == [("plain-8-s0", 0), ("plain-14-s0", 0)]
    assert selection.folder.as_posix() == "results/exp/probes/gradients"


def test_without_targets_the_default_sweep_is_measured(elsewhere):
    assert len(keys(select(GRADIENTS, [], None))) == 6


def test_a_folder_gives_the_initialisation_and_every_epoch_to_gradients_and_the_last_to_others(elsewhere):
    train()
    every = [(label, epoch) for label in LABELS for epoch in (0, 1, 2)]
    assert keys(select(GRADIENTS, ["results/exp"], None)) == every
    assert keys(select(GRADIENTS, ["results/exp"], None, every=5)) == [key for key in every if key[1] != 1]
    assert keys(select(IDENTITY, ["results/exp"], None)) == [(label, 2) for label in LABELS]


def test_of_several_experiments_the_labels_name_the_experiment(elsewhere):
    train("last")
    train("last", "name=other", "variant=plain")
    assert [label for label, _ in keys(select(IDENTITY, ["results"], None))] == [
        *(f"exp/{label}" for label in LABELS), f"other/{LABELS[0]}",
    ]  # fmt: skip


def test_where_weights_are_missing_the_message_gives_the_command_that_makes_them(elsewhere):
    train("none", "model=dense", "model.widths=[8,16]", "recipe.lr=0.05")
    with pytest.raises(ConfigError) as error:
        select(IDENTITY, ["results/exp"], None)
    line = str(error.value)
    assert line.startswith("results=results/exp: runs without weights are left out (2); train them with resdepth sweep")
    words = shlex.split(re.search(r"resdepth sweep (.*) --restart$", line)[1])
    assert "keep_weights=last" in words
    before = {
        run.directory
        for run in make_plan(
            ["depth=8", "model=dense", "model.widths=[8,16]", "name=exp", "recipe.lr=0.05", *TINY]
        ).runs
    }
    plan = make_plan([*words, "device=cpu"])
    assert {run.directory for run in plan.runs} == before
    assert {run.state for run in plan.runs} == {"finished"}
    train_here(*words, "device=cpu", "name=again")
    assert len(keys(select(IDENTITY, ["results/again"], None))) == 2


def test_the_command_names_all_seeds_and_depths_and_the_results_folder(elsewhere, tmp_path):
    train_here("depth=8,14", "variant=plain", "seed=0,1", f"results={tmp_path / 'here'}", *TINY)
    folders = sorted((tmp_path / "here/digits").iterdir())
    command = train_command([load_config(folder) for folder in folders], folders[0], "all")
    for word in (
        "depth=8,14",
        "seed=0,1",
        "variant=plain",
        "keep_weights=all",
        f"results={tmp_path / 'here'}",
        "data.limit=128",
    ):
        assert word in command.split()


def test_runs_without_weights_are_left_out_and_said_to_be(elsewhere):
    train("last", "variant=plain")
    train("none", "variant=residual")
    selection = select(IDENTITY, ["results/exp"], None)
    assert len(selection.nets) == 1
    (line,) = selection.problems
    assert line.startswith("results/exp: runs without weights are left out (1); train them with resdepth sweep depth=8")
    assert "variant=residual" in line


def test_a_run_that_has_not_finished_is_left_out(elsewhere, tmp_path):
    train("last")
    for name in ("outcome.json", f"weights/epoch-{2}.safetensors"):
        (tmp_path / "results/exp" / LABELS[0] / name).unlink()
    selection = select(IDENTITY, ["results/exp"], None)
    assert len(selection.nets) == 1
    assert selection.problems == (f"results/exp/{LABELS[0]}: has not finished; left out, without weights",)


def test_a_device_may_be_set_for_trained_nets(elsewhere):
    train("last")
    assert {net.config.device for net in select(IDENTITY, ["results/exp", "device=cpu"], None).nets} == {"cpu"}


def test_the_command_names_every_value_of_a_key_that_differs_the_default_included(elsewhere, tmp_path):
    words = ("model.batch_norm=true,false", "recipe.weight_decay=0,1e-4", "model.shortcut=A,C")
    train_here("depth=8", *words, "name=exp", *TINY)
    folders = sorted((tmp_path / "results/exp").iterdir())
    command = train_command([load_config(f) for f in folders], folders[0].relative_to(tmp_path), "last")
    again = shlex.split(command)[2:-1]
    assert {run.directory.name for run in make_plan([*again, "device=cpu"]).runs} >= {f.name for f in folders}
    assert "model.batch_norm=" in command
    assert "model.width=" not in command


def test_each_experiment_has_a_command_of_its_own_and_published_results_another_name(elsewhere):
    train("none")
    train("none", "model=dense", "name=other")
    with pytest.raises(ConfigError):
        select(IDENTITY, ["results"], None)
    train("last", "name=third")
    problems = select(IDENTITY, ["results"], None).problems
    assert [line.partition(":")[0] for line in problems] == ["results/exp", "results/other"]
    assert "model=dense" in problems[1]
    assert "model=dense" not in problems[0]


def test_published_results_are_trained_again_under_another_name(tmp_path):
    from support.commands import ROOT

    folder = ROOT / "results/published/digits/plain-8-s0"
    command = train_command([load_config(folder)], folder, "last")
    assert "name=digits_again" in command
    assert "--restart" not in command
    assert "results=" not in command


def test_a_half_trained_run_is_measured_and_said_to_be(elsewhere, tmp_path):
    train("all")
    (tmp_path / "results/exp" / LABELS[0] / "outcome.json").unlink()
    selection = select(IDENTITY, ["results/exp"], None)
    assert len(selection.nets) == 2
    assert selection.problems == (f"results/exp/{LABELS[0]}: has not finished; measured up to epoch 2",)


def test_a_diverged_run_is_measured_at_its_initialisation_alone(elsewhere, tmp_path):
    import json

    train("none", "variant=plain")
    path = tmp_path / "results/exp" / LABELS[0] / "outcome.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"state": "diverged"}))
    assert keys(select(GRADIENTS, ["results/exp"], None)) == [(LABELS[0], 0)]
    with pytest.raises(ConfigError, match=r"left out, because it diverged; train it at a lower recipe.lr"):
        select(IDENTITY, ["results/exp"], None)


def test_an_epoch_that_the_runs_do_not_have_is_refused(elsewhere):
    train("all")
    assert {epoch for _, epoch in keys(select(PROBES["grow"], ["results/exp"], None, epoch=1))} == {1}
    with pytest.raises(ConfigError, match=r"--epoch=9: these runs have 2 epochs"):
        select(PROBES["grow"], ["results/exp"], None, epoch=9)


def test_the_folder_of_one_run_is_a_folder_though_its_name_has_an_equals_sign(elsewhere):
    train("last")
    assert keys(select(IDENTITY, [f"results/exp/{LABELS[0]}"], None)) == [(LABELS[0], 2)]


def test_epochs_are_numbers_and_runs_set_aside_are_not_measured(elsewhere, tmp_path):
    train("none", "variant=plain", "recipe.epochs=10")
    (folder,) = tmp_path.glob("results/exp/plain-8*")
    (folder / "weights").mkdir()
    for epoch in (2, 9, 10):
        (folder / f"weights/epoch-{epoch}.safetensors").touch()
    shutil.copytree(folder, tmp_path / "results/exp/.aside" / f"{folder.name}.1")
    assert keys(select(GRADIENTS, ["results/exp"], None)) == [(folder.name, epoch) for epoch in (0, 2, 9, 10)]
    assert keys(select(IDENTITY, ["results/exp"], None)) == [(folder.name, 10)]


def test_where_the_data_lie_may_be_set_for_trained_nets(elsewhere):
    train("last", "variant=plain")
    words = ("data.root=there", "data.download=false")
    (net,) = select(IDENTITY, ["results/exp", *words], None).nets
    assert (net.config.data.root, net.config.data.download) == ("there", False)
    with pytest.raises(ConfigError, match=r"data.path=my.npz: is used only with data=npz or data=folder"):
        select(IDENTITY, ["results/exp", "data.path=my.npz"], None)


def test_the_command_for_data_of_ones_own_names_their_path_and_no_key_that_follows_from_it(elsewhere, tmp_path, images):
    write_npz(Path("my.npz"), images)
    train_here("depth=8", "variant=plain", "data=npz", "data.path=my.npz", "name=exp", *TINY)
    (folder,) = tmp_path.glob("results/exp/*")
    assert load_config(folder).data.fingerprint
    command = train_command([load_config(folder)], folder.relative_to(tmp_path), "last")
    assert "data.path=my.npz" in command
    assert "fingerprint" not in command
    assert "data.name" not in command
    assert [run.directory.name for run in make_plan([*shlex.split(command)[2:-1], "device=cpu"]).runs] == [folder.name]


def test_the_command_for_data_of_ones_own_names_their_name_where_it_was_set(elsewhere, tmp_path, images):
    write_npz(Path("my.npz"), images)
    train_here("depth=8", "variant=plain", "data=npz", "data.path=my.npz", "data.name=mine", "name=exp", *TINY)
    (folder,) = tmp_path.glob("results/exp/*")
    command = train_command([load_config(folder)], folder.relative_to(tmp_path), "last")
    assert {"data=npz", "data.path=my.npz", "data.name=mine"} <= set(command.split())
    assert [run.directory.name for run in make_plan([*shlex.split(command)[2:-1], "device=cpu"]).runs] == [folder.name]


def test_runs_of_several_models_have_a_command_each(elsewhere, tmp_path):
    train("none", "model=conv,dense")
    with pytest.raises(ConfigError) as error:
        select(IDENTITY, ["results/exp"], None)
    said = str(error.value)
    assert "are left out (4); train them with resdepth sweep" in said
    commands = said.partition("train them with ")[2].split(" && ")
    assert len(commands) == 2
    planned = [
        run.directory.name
        for command in commands
        for run in make_plan([*shlex.split(command)[2:-1], "device=cpu"]).runs
    ]
    assert sorted(planned) == sorted(folder.name for folder in (tmp_path / "results/exp").iterdir())
    assert "model.architecture" not in said


def test_the_command_names_a_folder_of_results_below_another(elsewhere, tmp_path):
    train_here("depth=8", "variant=plain", "results=results/mine", *TINY)
    (folder,) = tmp_path.glob("results/mine/digits/*")
    command = train_command([load_config(folder)], folder.relative_to(tmp_path), "last")
    assert "results=results/mine" in command.split()
