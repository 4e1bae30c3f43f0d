"""The figures of final errors: against depth and against the learning rate, checked in their objects."""

import math
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pytest
from support.figures import figures, labels, legend, lines, texts, write_curve, write_finals

from resdepth.report.figures.labels import End, label_ends
from resdepth.results.metrics import read_rows, write_rows
from resdepth.results.table import load_results


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def named(found):
    return [" ".join(text.get_text().split()) for text in found]


def test_depth_shows_every_seed_and_the_mean_of_both_variants(small_results):
    table = load_results(small_results)
    figure = figures(small_results)["depth"]
    panel = figure.axes[0]
    last = table[table.epoch == 2]
    for variant in ("plain", "residual"):
        mean = last[last.variant == variant].groupby("depth").train_error.mean()
        assert np.allclose(lines(panel)[variant].get_ydata(), mean)
    seeds = [line for line in panel.lines if line.get_label() == "_seeds"]
    assert [len(s.get_ydata()) for s in seeds] == [4, 4]
    assert {s.get_marker() for s in seeds} == {"_"}
    assert legend(figure) == ["one seed", "points: deepest net against shallowest"]
    assert panel.get_ylabel() == "final training error (%)"
    assert [tick.get_text() for tick in panel.get_xticklabels()] == ["8", "14"]


def test_a_variant_that_lies_on_another_leaves_it_visible(tmp_path):
    write_finals(tmp_path, {(v, d): 0 for v in ("plain", "residual") for d in (8, 20)})
    found = lines(figures(tmp_path)["depth"].axes[0])
    below, above = found["plain"], found["residual"]
    assert above.get_markerfacecolor() == "none"
    assert above.get_markersize() > below.get_markersize()
    assert above.get_linewidth() < below.get_linewidth()
    assert below.get_markerfacecolor() == below.get_color() != above.get_color()


@pytest.mark.parametrize(
    ("finals", "written"),
    [
        ({"plain": (0, 89), "residual": (0, 0.2)}, {"plain +89 points", "residual no gap"}),
        ({"plain": (10, 50), "residual": (10, 3)}, {"plain +40 points", "residual −7 points"}),
        ({"plain": (10, 10.5)}, {"plain no gap"}),
    ],
)
def test_depth_says_what_the_deepest_net_has_more_than_the_shallowest(finals, written, tmp_path):
    write_finals(tmp_path, {(v, d): e for v, errors in finals.items() for d, e in zip((8, 110), errors, strict=True)})
    panel = figures(tmp_path)["depth"].axes[0]
    assert {text for text in texts(panel) if "chance" not in text} == written


def test_the_gap_is_that_between_the_deepest_and_the_shallowest_of_several_depths(tmp_path):
    finals = {"plain": (0, 5, 89), "residual": (0, 20, 9)}
    write_finals(
        tmp_path, {(v, d): e for v, errors in finals.items() for d, e in zip((8, 20, 110), errors, strict=True)}
    )
    panel = figures(tmp_path)["depth"].axes[0]
    assert named(labels(panel)) == ["residual +9 points", "plain +89 points"]
    assert [label.xy for label in labels(panel)] == [(110, 9), (110, 89)]


def test_the_legends_marks_are_those_that_are_drawn(tmp_path):
    write_curve(tmp_path, "plain", 20, [60, 88], state="diverged")
    for seed in (0, 1):
        write_curve(tmp_path, "plain", 8, [60, 5], seed=seed)
    figure = figures(tmp_path)["depth"]
    drawn = {line.get_label(): line for line in figure.axes[0].lines}
    shown = {line.get_label(): line for line in figure.legends[0].get_lines()}
    for name, explained in (("_seeds", "one seed"), ("diverged", "diverged")):
        looks = [(line.get_marker(), line.get_markersize()) for line in (drawn[name], shown[explained])]
        assert looks[0] == looks[1]


def test_the_chance_level_is_drawn_where_errors_come_near_it(tmp_path):
    for name, high in (("near", 80), ("far", 10)):
        write_finals(tmp_path / name, {("plain", 8): 1, ("plain", 56): high})
        panel = figures(tmp_path / name)["depth"].axes[0]
        levels = [line.get_ydata()[0] for line in panel.lines if line.get_label() == "_chance"]
        assert levels == ([90] if name == "near" else [])
        assert ("chance (90 %)" if name == "near" else "chance (90 %) ↑") in texts(panel)
        assert 90 < panel.get_ylim()[1] < 110 if name == "near" else panel.get_ylim()[1] < 15


def test_the_chance_level_of_small_panels_leaves_room_for_its_name_and_no_more(tmp_path):
    for lr in (0.01, 0.1):
        write_finals(tmp_path, {("plain", 8): 1, ("plain", 56): 80}, lr=lr)
    top = figures(tmp_path)["depth"].axes[0].get_ylim()[1]
    assert 100 < top < 115


def test_one_depth_has_no_figure_against_depth(tmp_path):
    for lr in (0.01, 0.1):
        write_finals(tmp_path, {("plain", 20): 5, ("residual", 20): 1}, lr=lr)
    assert set(figures(tmp_path)) == {"training", "curves", "rates"}
    write_finals(tmp_path, {("plain", 56): 5}, lr=0.1)
    assert set(figures(tmp_path)) == {"training", "curves", "rates", "depth", "depth_best_rate"}


def test_depths_that_lie_far_apart_have_a_logarithmic_axis(tmp_path):
    write_finals(tmp_path, {("plain", 20): 5, ("plain", 1202): 80})
    panel = figures(tmp_path)["depth"].axes[0]
    assert panel.get_xscale() == "log"
    assert [tick.get_text() for tick in panel.get_xticklabels()] == ["20", "1202"]


def test_a_diverged_run_is_marked_in_the_depth_figure_too(tmp_path):
    write_curve(tmp_path, "plain", 20, [60, 88], state="diverged")
    write_curve(tmp_path, "plain", 8, [60, 5])
    figure = figures(tmp_path)["depth"]
    drawn = lines(figure.axes[0])["diverged"]
    assert (drawn.get_marker(), drawn.get_xydata().tolist()) == ("x", [[20, 88]])
    assert "diverged" in legend(figure)


def test_rates_have_a_line_per_depth_named_at_its_end(tmp_path):
    for lr in (0.01, 0.1):
        write_finals(tmp_path, {(v, d): 100 * lr * d / 20 for v in ("plain", "residual") for d in (20, 56)}, lr=lr)
    plain, residual = figures(tmp_path)["rates"].axes
    assert (plain.get_title(), residual.get_title()) == ("plain", "residual")
    assert plain.get_xlabel() == "learning rate"
    assert lines(plain)["20 layers"].get_xydata().tolist() == [[0.01, 1.0], [0.1, 10.0]]
    assert named(labels(plain)) == ["20 layers", "56 layers"]
    assert [label.xy for label in labels(plain)] == [(0.1, 10), (0.1, 28)]
    assert [tick.get_text() for tick in plain.get_xticklabels()] == [".01", ".1"]


def test_each_net_is_drawn_at_its_best_rate(tmp_path):
    for lr, shift in ((0.01, 0), (0.1, 30)):
        write_finals(tmp_path, {("plain", 8): 40 - shift, ("plain", 20): 30 + shift}, lr=lr)
    figure = figures(tmp_path)["depth_best_rate"]
    assert lines(figure.axes[0])["plain"].get_ydata().tolist() == [10, 30]
    assert "each net's best rate" in figure.get_suptitle()


def test_a_net_whose_last_test_was_not_made_or_whose_loss_is_not_finite_is_left_out(tmp_path):
    write_finals(tmp_path, {("plain", 8): 4, ("plain", 20): 20, ("plain", 56): 60})
    file = next(tmp_path.rglob("plain-56*/metrics.csv"))
    *others, last = read_rows(file)
    write_rows(file, [*others, replace(last, test_error=math.nan, train_loss=math.inf)])
    for metric, ends in (("test", 21), ("loss", 0.5)):
        panel = next(f for n, f in figures(tmp_path, metric).items() if n.startswith("depth")).axes[0]
        assert lines(panel)["plain"].get_xydata()[-1].tolist() == [20, ends]
        assert [label.xy for label in labels(panel)] == [(20, ends)]


def test_another_metric_is_drawn_against_depth_too(tmp_path):
    write_finals(tmp_path, {("plain", 8): 4, ("plain", 20): 20})
    for metric, label, expected in (
        ("test", "final test error (%)", [5, 21]),
        ("train", "final training error (%)", [4, 20]),
    ):
        panel = next(f for n, f in figures(tmp_path, metric).items() if n.startswith("depth")).axes[0]
        assert panel.get_ylabel() == label
        assert lines(panel)["plain"].get_ydata().tolist() == expected


def test_labels_of_many_variants_that_neither_fit_beside_a_panel_nor_can_be_joined_are_drawn():
    _, panel = plt.subplots()
    panel.set_ylim(0, 100)
    label_ends(panel, [End(1.0, 5.0 * i, f"variant-{i}", "black", "no gap") for i in range(8)], (2.25, 1.75), 1.0)
    assert len(labels(panel)) == 8
    plt.close("all")


def test_where_all_errors_are_small_no_gap_looks_like_none(tmp_path):
    write_finals(tmp_path, {("plain", 8): 0.0, ("plain", 56): 0.6})
    panel = figures(tmp_path)["depth"].axes[0]
    assert "plain no gap" in texts(panel)
    assert panel.get_ylim()[1] > 5
    # The name of a chance level far above has room over the values.
    (chance,) = (text for text in panel.texts if "chance" in text.get_text())
    assert chance.get_position()[1] > 5
