"""The figure `curves`: He et al. 2015, figure 6, checked in its objects."""

from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pytest
from support.figures import figures, labels, legend, lines, texts, write_curve, write_finals

from resdepth.report.figures.lines import depth_styles
from resdepth.results.metrics import read_rows, write_rows
from resdepth.results.table import load_results


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def curves(results, *words):
    return next(figure for name, figure in figures(results, *words).items() if name.startswith("curves"))


def test_there_is_a_panel_per_variant_and_a_thin_dashed_and_a_bold_line_per_depth(small_results):
    plain, residual = curves(small_results).axes
    styles = depth_styles(load_results(small_results))
    assert (plain.get_title(), residual.get_title()) == ("plain", "residual")
    for panel in (plain, residual):
        found = lines(panel)
        assert len(found) == 4
        for depth in (8, 14):
            name = f"{panel.get_title()}-{depth}"
            train, test = found[f"{name} train_error"], found[f"{name} test_error"]
            assert (train.get_linestyle(), test.get_linestyle()) == ("--", "-")
            assert train.get_linewidth() < 0.5 * test.get_linewidth()
            assert train.get_color() == test.get_color() == styles[depth].colour


def test_lines_are_means_over_the_seeds_with_their_deviation(small_results):
    table = load_results(small_results)
    panel = curves(small_results).axes[0]
    values = table[(table.variant == "plain") & (table.depth == 8)].groupby("epoch").test_error
    drawn = lines(panel)["plain-8 test_error"]
    assert drawn.get_xdata().tolist() == [1, 2]
    assert np.allclose(drawn.get_ydata(), values.mean())
    assert len(panel.collections) == 4
    highest = (values.mean() + values.std(ddof=1)).max()
    assert highest in [pytest.approx(band.get_paths()[0].vertices[:, 1].max()) for band in panel.collections]


def test_nets_are_named_where_their_test_errors_end_and_the_legend_names_both_lines(tmp_path):
    write_finals(tmp_path, {("plain", d): 20.0 if d == 56 else 3.0 for d in (8, 20, 32, 44, 56)})
    figure = curves(tmp_path)
    assert texts(figure.axes[0]) == ["8 to 44 layers", "56 layers"]
    assert [label.xy for label in labels(figure.axes[0])] == [(4, 4), (4, 21)]
    assert legend(figure) == ["training error", "test error"]


@pytest.mark.parametrize(
    ("metric", "label", "columns"),
    [
        ("both", "error (%)", ["train_error", "test_error"]),
        ("train", "training error (%)", ["train_error"]),
        ("test", "test error (%)", ["test_error"]),
        ("loss", "cross-entropy (nats)", ["train_loss", "test_loss"]),
    ],
)
def test_the_metric_and_the_x_axis_can_be_chosen(metric, label, columns, small_results):
    panel = curves(small_results, metric, "iteration").axes[0]
    assert (panel.get_ylabel(), panel.get_xlabel()) == (label, "iteration (minibatches)")
    assert set(lines(panel)) == {f"plain-{depth} {column}" for depth in (8, 14) for column in columns}
    assert lines(panel)[f"plain-8 {columns[-1]}"].get_xdata().tolist() == [1, 2]  # one minibatch of 128 an epoch
    assert lines(panel)[f"plain-8 {columns[-1]}"].get_linestyle() == "-"


def test_a_diverged_run_is_marked_once_at_its_test_error(tmp_path):
    write_curve(tmp_path, "plain", 20, [60.0, 90.0], state="diverged")
    figure = curves(tmp_path)
    (mark,) = (line for line in figure.axes[0].lines if line.get_marker() == "x")
    assert mark.get_xydata().tolist() == [[2, 91]]
    assert "diverged" in legend(figure)


def test_a_loss_that_begins_far_off_does_not_flatten_the_rest(tmp_path):
    folder = write_curve(tmp_path, "plain", 20, [90.0, 40.0, 30.0])
    first, *others = read_rows(folder / "metrics.csv")
    write_rows(folder / "metrics.csv", [replace(first, test_loss=1e25), *others])
    assert curves(tmp_path, "loss").axes[0].get_ylim()[1] < 4


def test_no_panel_is_cut_off_at_the_range_of_another(tmp_path):
    write_finals(tmp_path, {("plain", 20): 5, ("residual", 20): 98})
    for panel in curves(tmp_path).axes:
        assert -3 < panel.get_ylim()[0] < 0
        assert 99 <= panel.get_ylim()[1] <= 100


def test_a_run_that_diverged_early_does_not_cut_the_epochs_of_the_others(tmp_path):
    write_curve(tmp_path, "plain", 20, [60], epochs=3, state="diverged")
    write_curve(tmp_path, "residual", 20, [60, 20, 5])
    assert [panel.get_xlim() for panel in curves(tmp_path).axes] == [(0, 3), (0, 3)]
