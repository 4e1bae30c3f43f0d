"""From CSV files to tables, settings, verdicts, and the paper's figures beside ours."""

import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import yaml
from conftest import train_here

import resdepth
from resdepth.config.schema import DataConfig, ModelConfig, RecipeConfig, RunConfig
from resdepth.errors import ConfigError
from resdepth.report.comparison import comparisons, last_epochs
from resdepth.report.summary import at_best_rate, best_rates, summarise, verdict
from resdepth.results import run_directory
from resdepth.results.metrics import SCHEMA_VERSION, EpochRecord, write_rows
from resdepth.results.outcome import Outcome, write_outcome
from resdepth.results.table import load_results, read_results


def write_run(results, variant="plain", depth=20, seed=0, train_error=1.0, test_error=2.0, **keys):
    """A finished run of two epochs with these final errors, as the program would have left it."""
    lr, shortcut = keys.get("lr", 0.02), keys.get("shortcut", "A")
    dataset, epochs = keys.get("dataset", "digits"), keys.get("epochs", 2)
    length = {"epochs": epochs, "iterations": keys.get("iterations")}
    config = RunConfig(
        depth=depth, variant=variant, seed=seed, name=keys.get("name", "exp"), results=str(results),
        precision=keys.get("precision", "fp32"), data=DataConfig(name=dataset, limit=keys.get("limit")),
        model=ModelConfig(name="conv", shortcut=shortcut, width=keys.get("width", 16)),
        recipe=RecipeConfig(name=keys.get("recipe", dataset), lr=lr, **length),
    )  # fmt: skip
    defaults = {"recipe.lr": 0.02, "model.shortcut": "A"}
    given = {"recipe.lr": lr, "model.shortcut": shortcut}
    folder = run_directory.run_path(config, [(k, v) for k, v in given.items() if v != defaults[k]])
    folder.mkdir(parents=True)
    run_directory.write_config(folder, config)
    row = EpochRecord(
        SCHEMA_VERSION, dataset, "conv", variant, depth, config.shortcut, seed, 1, 12, lr, 2.0, 50.0, float("nan"),
        2.0, 60.0, 0.5,
    )  # fmt: skip
    last = replace(row, epoch=2, iteration=24, train_error=train_error, test_error=test_error)
    write_rows(folder / "metrics.csv", [row, last])
    write_outcome(folder, Outcome(keys.get("state", "finished"), 1.0))
    return folder


def one_comparison(results):
    (comparison,) = comparisons(load_results(results))
    return comparison


def test_results_are_one_tidy_table_with_the_configurations_keys(small_results):
    table = resdepth.load_results(small_results)
    assert len(table) == 8 * 2
    assert set(table.experiment) == {"small"}
    assert set(table.state) == {"finished"}
    assert set(table["recipe.lr"]) == {0.02}
    assert set(table["data.limit"]) == {128}
    assert set(table[table.variant == "plain"].shortcut) == {"none"}
    assert table["model.shortcut"].isna().equals(table.variant == "plain")


@pytest.mark.parametrize("below", ["", "small", "small/plain-8-s0,data.limit=128,recipe.epochs=2"])
def test_an_experiment_has_one_name_wherever_it_is_read_from(small_results, below):
    assert set(load_results(small_results / below).experiment) == {"small"}


def test_published_results_are_read_only_where_they_are_asked_for(tmp_path):
    write_run(tmp_path / "results")
    write_run(tmp_path / "results" / "published", name="theirs")
    assert set(load_results(tmp_path / "results").experiment) == {"exp"}
    assert set(load_results(tmp_path / "results" / "published").experiment) == {"theirs"}


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="is no folder"):
        load_results(tmp_path / "nowhere")


def test_a_file_that_cannot_be_read_is_named_and_the_others_are_read(tmp_path):
    write_run(tmp_path)
    bad = write_run(tmp_path, "residual")
    (bad / "metrics.csv").write_text("a,b\n1,2\n")
    table, problems = read_results(tmp_path)
    assert set(table.variant) == {"plain"}
    assert len(problems) == 1
    assert str(bad / "metrics.csv") in problems[0]
    with pytest.warns(UserWarning, match=r"metrics\.csv"):
        load_results(tmp_path)


def test_a_run_that_still_runs_is_read_as_running(tmp_path):
    (write_run(tmp_path) / "outcome.json").unlink()
    assert set(load_results(tmp_path).state) == {"running"}


def test_only_seeds_are_pooled(tmp_path):
    for seed in (0, 1, 2):
        for lr in (0.02, 0.1):
            write_run(tmp_path, seed=seed, lr=lr, train_error=seed + 100 * lr)
    found = comparisons(load_results(tmp_path))
    assert [(s.label, s.rows.seed.nunique()) for s in found] == [("recipe.lr=0.02", 3), ("recipe.lr=0.1", 3)]
    (row,) = summarise(found[1]).to_dict("records")
    assert (row["seeds"], row["train_error"], row["train_error_std"]) == (3, pytest.approx(11), pytest.approx(1))


def test_plain_runs_stand_beside_every_shortcut(tmp_path):
    write_run(tmp_path, "plain")
    for shortcut in "AB":
        write_run(tmp_path, "residual", shortcut=shortcut)
    found = comparisons(load_results(tmp_path))
    assert [(s.label, sorted(set(s.rows.variant))) for s in found] == [
        (f"model.shortcut={s}", ["plain", "residual"]) for s in "AB"
    ]


def test_a_plain_run_that_stands_beside_no_other_is_a_setting_of_its_own(tmp_path):
    write_run(tmp_path, "plain", lr=0.05)
    for shortcut in "AB":
        write_run(tmp_path, "residual", shortcut=shortcut)
    table = load_results(tmp_path)
    found = comparisons(table)
    assert len(found) == 3
    assert {run for comparison in found for run in comparison.rows.run} == set(table.run)


def test_one_data_set_under_two_file_names_is_one_setting(tmp_path):
    for depth, path in ((8, "a.npz"), (14, "b.npz")):
        folder = write_run(tmp_path, depth=depth)
        config = folder / "config.yaml"
        config.write_text(
            config.read_text().replace("path: null", f"path: {path}").replace("data:", f"data:\n  path: {path}")
        )
    assert set(load_results(tmp_path)["data.path"]) == {"a.npz", "b.npz"}
    assert len(comparisons(load_results(tmp_path))) == 1


def test_a_key_that_another_one_implies_is_not_told_twice(tmp_path):
    write_run(tmp_path, dataset="digits", epochs=2)
    write_run(tmp_path, depth=26, dataset="mnist", epochs=3, lr=0.1)
    assert [s.label for s in comparisons(load_results(tmp_path))] == ["dataset=digits", "dataset=mnist"]


def test_runs_that_have_not_ended_well_do_not_count_beside_those_that_have(tmp_path):
    write_run(tmp_path, depth=20, seed=0, train_error=1.0)
    write_run(tmp_path, depth=20, seed=1, train_error=90.0, state="failed")
    write_run(tmp_path, depth=32, seed=0, train_error=1.5)
    (write_run(tmp_path, depth=32, seed=1, train_error=95.0) / "outcome.json").unlink()
    comparison = one_comparison(tmp_path)
    table = summarise(comparison)
    assert list(zip(table.depth, table.seeds, table.train_error, table.note, strict=True)) == [
        (20, 1, 1.0, "1 failed"), (32, 1, 1.5, "1 running"),
    ]  # fmt: skip
    assert "32 layers train no worse than 20 (1.5 % against 1.0 %)" in verdict(comparison)


def test_final_rows_are_the_last_of_each_run_not_the_best(tmp_path):
    write_run(tmp_path, train_error=70.0)
    (row,) = last_epochs(load_results(tmp_path)).to_dict("records")
    assert (row["epoch"], row["train_error"], row["seconds"]) == (2, 70.0, 1.0)


def test_the_verdict_says_which_variant_trains_worse_and_by_how_much(tmp_path):
    for variant, errors in (("plain", (0.5, 89.5)), ("residual", (0.25, 0.5))):
        for depth, error in zip((20, 110), errors, strict=True):
            write_run(tmp_path, variant, depth, train_error=error)
    text = verdict(one_comparison(tmp_path))
    assert "plain: 110 layers train 89 points worse than 20 (89.5 % against 0.5 %)" in text
    assert "residual: 110 layers train no worse than 20 (0.5 % against 0.2 %)" in text
    assert "digits, recipe digits (rate 0.02, 2 epochs), seed 0" in text


def test_the_verdict_can_be_better_and_needs_two_depths(tmp_path):
    write_run(tmp_path / "a", depth=20, train_error=9.0)
    assert "plain: 20 layers train to 9.0 %" in verdict(one_comparison(tmp_path / "a"))
    write_run(tmp_path / "a", depth=32, train_error=4.0)
    assert "32 layers train 5 points better than 20" in verdict(one_comparison(tmp_path / "a"))


def test_a_rate_at_which_a_run_diverged_is_nobodys_best(tmp_path):
    write_run(tmp_path, depth=56, lr=0.02, train_error=60.0)
    write_run(tmp_path, depth=56, lr=0.5, train_error=30.0, state="diverged")
    (pooled,) = comparisons(load_results(tmp_path), pooled=("recipe.lr",))
    assert best_rates(pooled).lr.tolist() == [0.02]


def test_the_verdict_names_divergence_and_two_nets_that_do_not_train(tmp_path):
    write_run(tmp_path, depth=20, train_error=89.0)
    write_run(tmp_path, depth=56, train_error=89.5, state="diverged")
    text = verdict(one_comparison(tmp_path))
    assert "56 layers train no worse than 20, but neither trains (89.5 % against 89.0 %, diverged)" in text


def test_titles_tell_a_users_data_apart(tmp_path, images):
    for name in "ab":
        np.savez(tmp_path / f"{name}.npz", **images)
        images["x_train"][0] = 0
        path = f"data.path={tmp_path}/{name}.npz"
        train_here("depth=8", "variant=plain", "data=npz", path, "recipe.epochs=1", f"results={tmp_path}/r")
    titles = [s.title for s in comparisons(load_results(tmp_path / "r"))]
    assert len(set(titles)) == 2


def test_each_variant_and_depth_is_taken_at_its_best_rate(tmp_path):
    errors = {("plain", 20): (1, 2), ("plain", 56): (30, 60), ("residual", 20): (2, 1), ("residual", 56): (3, 4)}
    for (variant, depth), pair in errors.items():
        for lr, error in zip((0.01, 0.1), pair, strict=True):
            write_run(tmp_path, variant, depth, lr=lr, train_error=float(error))
    (pooled,) = comparisons(load_results(tmp_path), pooled=("recipe.lr",))
    table = best_rates(pooled)
    assert list(zip(table.lr, table.train_error, strict=True)) == [(0.01, 1), (0.01, 30), (0.1, 1), (0.01, 3)]
    assert "56 layers train 29 points worse" in verdict(at_best_rate(pooled))


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"variant": "residual", "depth": 56}, ("6.97", "6.6 to 7.5 (3)")),
        ({"variant": "residual", "depth": 110}, ("6.61", "6.3 to 7.1 (2)")),
        ({"variant": "plain", "depth": 20}, ("9.7", "9.7 to 10.1 (4)")),
        ({"variant": "plain", "depth": 110}, (">60", None)),
        ({"variant": "residual", "depth": 26}, (None, None)),
        ({"variant": "residual", "depth": 56, "state": "failed"}, (None, None)),
        ({"variant": "residual", "depth": 56, "shortcut": "B"}, (None, None)),
        ({"variant": "residual", "depth": 56, "iterations": 1000}, (None, None)),
        ({"variant": "residual", "depth": 56, "dataset": "cifar100"}, (None, None)),
        ({"variant": "residual", "depth": 56, "lr": 0.05}, (None, None)),
        ({"variant": "residual", "depth": 56, "width": 32}, (None, None)),
        ({"variant": "residual", "depth": 56, "limit": 500}, (None, None)),
        ({"variant": "residual", "depth": 56, "precision": "bf16"}, ("6.97", "6.6 to 7.5 (3)")),
    ],
)
def test_the_papers_figure_stands_beside_ours_where_it_applies(tmp_path, keys, expected):
    write_run(tmp_path, **{"dataset": "cifar10", "lr": 0.1, "epochs": None, "iterations": 64_000, **keys})
    (row,) = summarise(one_comparison(tmp_path)).to_dict("records")
    assert (row["paper_test_error"], row["reproduced_test_error"]) == expected


def test_config_yaml_can_be_read_by_anyone(small_results):
    folder = next((small_results / "small").glob("plain-8-s0*"))
    tree = yaml.safe_load((folder / "config.yaml").read_text())
    assert (tree["depth"], tree["recipe"]["lr"], tree["data"]["limit"]) == (8, 0.02, 128)


def test_tables_and_plots_never_load_torch(small_results, tmp_path):
    """With torch out of reach the tables and figures are made; a module that needs it is not loaded."""
    (tmp_path / "torch.py").write_text("raise ImportError('torch is out of reach')")
    shutil.copytree(small_results, tmp_path / "results")
    code = (
        "import sys; from resdepth.cli.commands import app;"
        "app(['plot', 'results', '--format', 'png'], standalone_mode=False);"
        "app(['summary', 'results'], standalone_mode=False); assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    failing = subprocess.run(
        [sys.executable, "-c", "import resdepth.sweep.run"], cwd=tmp_path, capture_output=True, check=False
    )
    assert b"out of reach" in failing.stderr  # so the test can fail
