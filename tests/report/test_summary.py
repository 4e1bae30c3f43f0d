"""Means, best rates and verdicts."""

from support.runs import one_comparison, write_run

from resdepth.report.comparison import comparisons
from resdepth.report.summary import at_best_rate, best_rates, summarise, verdict
from resdepth.results.table import load_results


def test_runs_that_have_not_ended_well_do_not_count_beside_those_that_have(tmp_path):
    write_run(tmp_path, depth=20, seed=0, train_error=1.0)
    write_run(tmp_path, depth=20, seed=1, train_error=90.0, state="failed")
    write_run(tmp_path, depth=32, seed=0, train_error=1.5)
    (write_run(tmp_path, depth=32, seed=1, train_error=95.0) / "outcome.json").unlink()
    comparison = one_comparison(tmp_path)
    table = summarise(comparison)
    assert list(zip(table.depth, table.seeds, table.train_error, table.note, strict=True)) == [
        (20, 1, 1.0, "1 failed"), (32, 1, 1.5, "1 stopped"),
    ]  # fmt: skip
    assert "32 layers train no worse than 20 (1.5 % against 1.0 %)" in verdict(comparison)


def test_the_verdict_says_which_variant_trains_worse_and_by_how_much(tmp_path):
    for variant, errors in (("plain", (0.5, 89.5)), ("residual", (0.25, 0.5))):
        for depth, error in zip((20, 110), errors, strict=True):
            write_run(tmp_path, variant, depth, train_error=error)
    text = verdict(one_comparison(tmp_path))
    assert "plain: 110 layers train 89 points worse than 20 (89.5 % against 0.5 %)" in text
    assert "residual: 110 layers train no worse than 20 (0.5 % against 0.2 %)" in text
    assert "digits, recipe digits (rate 0.02, 2 epochs), fp32, seed 0" in text


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


def test_each_variant_and_depth_is_taken_at_its_best_rate(tmp_path):
    errors = {("plain", 20): (1, 2), ("plain", 56): (30, 60), ("residual", 20): (2, 1), ("residual", 56): (3, 4)}
    for (variant, depth), pair in errors.items():
        for lr, error in zip((0.01, 0.1), pair, strict=True):
            write_run(tmp_path, variant, depth, lr=lr, train_error=float(error))
    (pooled,) = comparisons(load_results(tmp_path), pooled=("recipe.lr",))
    table = best_rates(pooled)
    assert list(zip(table.lr, table.train_error, strict=True)) == [(0.01, 1), (0.01, 30), (0.1, 1), (0.01, 3)]
    assert "56 layers train 29 points worse" in verdict(at_best_rate(pooled))
