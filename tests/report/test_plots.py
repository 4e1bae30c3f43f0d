"""The figures, checked in their objects: panels, lines, data, labels."""

import math
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pytest
from support.runs import one_comparison, write_run

from resdepth.errors import ConfigError
from resdepth.report.comparison import comparisons
from resdepth.report.figures.draw import depth_colours, draw, draw_curves, draw_depth, draw_rates
from resdepth.report.plots import plot
from resdepth.results.metrics import read_rows, write_rows
from resdepth.results.run_directory import locked
from resdepth.results.table import load_results


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


@pytest.fixture
def table(small_results):
    return load_results(small_results)


def lines(axes):
    return {line.get_label(): line for line in axes.lines}


def test_curves_have_a_panel_per_variant_and_a_dashed_and_a_solid_line_per_depth(table):
    (comparison,) = comparisons(table)
    plain, residual = draw_curves(comparison).axes
    assert (plain.get_title(), residual.get_title()) == ("plain", "residual")
    for panel in (plain, residual):
        found = lines(panel)
        assert len(found) == 4
        for depth in (8, 14):
            name = f"{panel.get_title()}-{depth}"
            train, test = found[f"{name} train_error"], found[f"{name} test_error"]
            assert (train.get_linestyle(), test.get_linestyle()) == ("--", "-")
            assert train.get_color() == test.get_color() == depth_colours(comparison.rows)[depth]


def test_curves_show_the_mean_and_the_deviation_over_seeds(table):
    (comparison,) = comparisons(table)
    panel = draw_curves(comparison).axes[0]
    runs = table[(table.variant == "plain") & (table.depth == 8)]
    mean = runs.groupby("epoch").test_error.mean()
    drawn = lines(panel)["plain-8 test_error"]
    assert drawn.get_xdata().tolist() == [1, 2]
    assert np.allclose(drawn.get_ydata(), mean)
    assert len(panel.collections) == 4
    band = panel.collections[1].get_paths()[0].vertices[:, 1]
    deviation = runs.groupby("epoch").test_error.std(ddof=1)
    assert band.max() == pytest.approx((mean + deviation).max())


@pytest.mark.parametrize(
    ("metric", "label", "column"),
    [
        ("error", "error (%)", "train_error"),
        ("loss", "cross-entropy (nats)", "train_loss"),
        ("clean", "error (%), training set without augmentation", "train_error_clean"),
    ],
)
def test_the_metric_and_the_x_axis_can_be_chosen(table, metric, label, column):
    (comparison,) = comparisons(table)
    panel = draw_curves(comparison, metric, "iteration").axes[0]
    assert panel.get_ylabel() == label
    assert panel.get_xlabel() == "iteration (minibatches)"
    assert f"plain-8 {column}" in lines(panel)
    if metric != "clean":
        assert lines(panel)[f"plain-8 {column}"].get_xdata().tolist() == [1, 2]  # one minibatch of 128 an epoch


def test_titles_say_data_set_recipe_and_seeds(table):
    (comparison,) = comparisons(table)
    for figure in (draw_curves(comparison), draw_depth(comparison)):
        title = figure.get_suptitle()
        assert all(part in title for part in ("digits", "recipe digits", "rate 0.02", "2 epochs", "2 seeds"))


def test_the_legend_names_depths_from_the_deepest_and_both_lines(table):
    (comparison,) = comparisons(table)
    texts = [t.get_text() for t in draw_curves(comparison).axes[-1].get_legend().get_texts()]
    assert texts == ["14 layers", "8 layers", "train error", "test error", "± one standard deviation"]


def test_depth_figure_shows_every_seed_and_the_mean_of_both_variants(table):
    (comparison,) = comparisons(table)
    axes = draw_depth(comparison).axes[0]
    last = table[table.epoch == 2]
    for variant in ("plain", "residual"):
        mean = last[last.variant == variant].groupby("depth").train_error.mean()
        assert np.allclose(lines(axes)[variant].get_ydata(), mean)
    seeds = [line for line in axes.lines if line.get_label() == "_seeds"]
    assert [len(s.get_ydata()) for s in seeds] == [4, 4]
    assert axes.get_ylabel() == "final training error (%)"


def test_a_sweep_that_still_runs_is_drawn_and_said_to(tmp_path):
    folder = write_run(tmp_path)
    (folder / "outcome.json").unlink()
    title = draw_curves(one_comparison(tmp_path)).get_suptitle()
    assert title.endswith("(stopped)")
    with locked(folder):
        title = draw_curves(one_comparison(tmp_path)).get_suptitle()
    assert "still running" in " ".join(title.split())


def test_a_diverged_run_is_marked(tmp_path):
    write_run(tmp_path, state="diverged", test_error=90.0)
    figure = draw_curves(one_comparison(tmp_path))
    mark = lines(figure.axes[0])["plain-20 diverged"]
    assert (mark.get_marker(), mark.get_xdata().tolist(), mark.get_ydata().tolist()) == ("x", [2], [90.0])
    assert "diverged" in [t.get_text() for t in figure.axes[0].get_legend().get_texts()]


def test_a_loss_that_is_no_number_is_marked_at_the_edge_and_stretches_no_axis(tmp_path):
    folder = write_run(tmp_path, state="diverged")
    first, last = read_rows(folder / "metrics.csv")
    write_rows(folder / "metrics.csv", [first, replace(last, train_loss=math.nan, test_loss=math.nan)])
    axes = draw_curves(one_comparison(tmp_path), "loss").axes[0]
    mark = lines(axes)["plain-20 diverged"]
    assert mark.get_transform() == axes.get_xaxis_transform()
    assert (mark.get_xdata().tolist(), mark.get_ydata().tolist()) == ([2], [1.0])
    assert axes.get_ylim()[1] < 3


def test_a_diverged_seed_does_not_move_the_mean_of_the_others(tmp_path):
    write_run(tmp_path, seed=0, train_error=5.0)
    write_run(tmp_path, seed=1, train_error=7.0)
    write_run(tmp_path, seed=2, train_error=90.0, state="diverged")
    found = lines(draw_curves(one_comparison(tmp_path)).axes[0])
    assert found["plain-20 train_error"].get_ydata()[-1] == pytest.approx(6)
    assert found["plain-20 train_error seed 2"].get_ydata()[-1] == pytest.approx(90)


def test_a_curve_of_one_epoch_is_seen_by_its_marks(tmp_path):
    folder = write_run(tmp_path)
    write_rows(folder / "metrics.csv", read_rows(folder / "metrics.csv")[:1])
    assert lines(draw_curves(one_comparison(tmp_path)).axes[0])["plain-20 train_error"].get_marker() == "."


def test_a_diverged_run_is_marked_in_the_depth_figure_too(tmp_path):
    write_run(tmp_path, state="diverged", train_error=88.0)
    drawn = lines(draw_depth(one_comparison(tmp_path)).axes[0])["diverged"]
    assert (drawn.get_marker(), drawn.get_xydata().tolist()) == ("x", [[20, 88.0]])


def test_a_seed_that_still_runs_does_not_bend_the_mean_of_those_that_have_ended(tmp_path):
    write_run(tmp_path, seed=0, train_error=5.0)
    running = write_run(tmp_path, seed=1, train_error=99.0)
    (running / "outcome.json").unlink()
    assert lines(draw_curves(one_comparison(tmp_path)).axes[0])["plain-20 train_error"].get_ydata()[-1] == 5


def test_no_panel_is_cut_off_at_the_range_of_another(tmp_path):
    write_run(tmp_path, "plain", train_error=5.0, test_error=6.0)
    write_run(tmp_path, "residual", train_error=80.0, test_error=99.0)
    for axes in draw_curves(one_comparison(tmp_path)).axes:
        assert axes.get_ylim()[0] == 0
        assert 99 <= axes.get_ylim()[1] <= 100


def test_a_run_that_diverged_early_does_not_cut_the_epochs_of_the_others(tmp_path):
    folder = write_run(tmp_path, "plain", state="diverged")
    write_rows(folder / "metrics.csv", read_rows(folder / "metrics.csv")[:1])
    write_run(tmp_path, "residual")
    for axes in draw_curves(one_comparison(tmp_path)).axes:
        assert axes.get_xlim()[0] == 0
        assert axes.get_xlim()[1] >= 2


def test_a_clean_error_that_was_never_measured_is_said_to_be_missing(small_results, tmp_path):
    _, problems = plot(small_results, tmp_path, ("png",), "clean", "epoch")
    assert "no run measured train_error_clean; sweep with recipe.eval_clean=true" in problems[0]


def test_a_folder_that_cannot_be_written_to_is_named(small_results, tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(ConfigError, match=r"--out=.*taken"):
        plot(small_results, tmp_path / "taken", ("png",), "error", "epoch")


def test_rates_are_drawn_where_an_experiment_swept_them(tmp_path):
    for variant in ("plain", "residual"):
        for lr in (0.01, 0.1):
            write_run(tmp_path, variant, lr=lr, train_error=100 * lr)
    names = [name for _, name, _ in draw(load_results(tmp_path))]
    assert sorted(names) == [
        "curves_recipe.lr=0.01", "curves_recipe.lr=0.1", "depth_best_rate", "depth_recipe.lr=0.01",
        "depth_recipe.lr=0.1", "rates",
    ]  # fmt: skip
    (pooled,) = comparisons(load_results(tmp_path), pooled=("recipe.lr",))
    plain, _ = draw_rates(pooled).axes
    assert plain.get_xlabel() == "learning rate"
    assert lines(plain)["20 layers"].get_xydata().tolist() == [[0.01, 1.0], [0.1, 10.0]]


def test_drawing_again_changes_no_byte(small_results, tmp_path):
    for name in ("a", "b"):
        plot(small_results, tmp_path / name, ("png", "svg"), "error", "epoch")
    files = sorted(p.name for p in (tmp_path / "a").iterdir())
    assert files == [f"small_{n}.{s}" for n in ("curves", "depth") for s in ("png", "svg")]
    assert all((tmp_path / "a" / f).read_bytes() == (tmp_path / "b" / f).read_bytes() for f in files)


def test_figures_lie_beside_their_runs_unless_a_folder_is_named(tmp_path):
    write_run(tmp_path)
    files, problems = plot(tmp_path, None, ("png",), "error", "epoch")
    assert problems == []
    assert [f.relative_to(tmp_path).as_posix() for f in files] == ["exp/figures/curves.png", "exp/figures/depth.png"]


def test_another_metric_or_axis_does_not_overwrite_the_papers_figure(small_results, tmp_path):
    plot(small_results, tmp_path, ("png",), "loss", "iteration")
    plot(small_results, tmp_path, ("png",), "error", "epoch")
    assert {"small_curves.png", "small_curves_loss_by_iteration.png"} <= {p.name for p in tmp_path.iterdir()}


def test_nothing_to_plot_is_said(tmp_path):
    with pytest.raises(ConfigError, match="contains no rows to plot; make some with resdepth sweep"):
        plot(tmp_path, None, ("png",), "error", "epoch")
