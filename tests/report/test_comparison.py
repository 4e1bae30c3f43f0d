"""Which runs are compared with which."""

import shutil

import numpy as np
import pytest
from support.runs import train_here, write_run

from resdepth.report.comparison import comparisons, last_epochs
from resdepth.report.summary import summarise
from resdepth.results.table import load_results


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


def test_titles_tell_a_users_data_apart(tmp_path, images):
    for name in "ab":
        np.savez(tmp_path / f"{name}.npz", **images)
        images["x_train"][0] = 0
        path = f"data.path={tmp_path}/{name}.npz"
        train_here("depth=8", "variant=plain", "data=npz", path, "recipe.epochs=1", f"results={tmp_path}/r")
    titles = [s.title for s in comparisons(load_results(tmp_path / "r"))]
    assert len(set(titles)) == 2


def test_final_rows_are_the_last_of_each_run_not_the_best(tmp_path):
    write_run(tmp_path, train_error=70.0)
    (row,) = last_epochs(load_results(tmp_path)).to_dict("records")
    assert (row["epoch"], row["train_error"], row["seconds"]) == (2, 70.0, 1.0)


@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
def test_a_title_says_the_precision_once(precision, tmp_path):
    write_run(tmp_path, precision=precision)
    (found,) = comparisons(load_results(tmp_path))
    assert found.title == f"digits, recipe digits (rate 0.02, 2 epochs), {precision}, seed 0"


def test_precisions_are_compared_and_each_title_says_its_own(tmp_path):
    for precision in ("fp32", "tf32"):
        write_run(tmp_path / "results", precision=precision, name=precision)
    for folder in (tmp_path / "results").iterdir():  # as one experiment, whose directories say the precision
        (run,) = folder.iterdir()
        (tmp_path / "one").mkdir(exist_ok=True)
        run.rename(tmp_path / "one" / f"{run.name},precision={folder.name}")
    found = comparisons(load_results(tmp_path / "one"))
    assert [c.label for c in found] == ["precision=fp32", "precision=tf32"]
    assert [c.title.count("32") for c in found] == [1, 1]


def test_the_title_counts_the_seeds_of_each_net(tmp_path):
    for seed in range(2):
        write_run(tmp_path, depth=8, seed=seed)
    write_run(tmp_path, depth=20)
    (comparison,) = comparisons(load_results(tmp_path))
    assert comparison.title.endswith(", 1 to 2 seeds")
    shutil.rmtree(next(tmp_path.rglob("plain-8-s0*")))
    (comparison,) = comparisons(load_results(tmp_path))
    assert comparison.title.endswith(", 1 seed")
