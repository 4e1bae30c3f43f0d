"""The figure `training`: what a lecture shows, checked in its objects."""

import itertools
import math
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pytest
from support.figures import boxes, figures, labels, legend, lines, texts, write_curve, write_finals
from support.runs import write_run

from resdepth.report.figures.draw import draw
from resdepth.report.figures.labels import change_text, spread
from resdepth.report.figures.lines import depth_styles, grey_of
from resdepth.results.files.lock import locked
from resdepth.results.metrics import read_rows, write_rows
from resdepth.results.table import load_results

PLAIN, RESIDUAL = "plain", "residual"


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def training(results, metric="both", x="epoch"):
    return next(figure for _, name, figure in draw(load_results(results), metric, x) if name.startswith("training"))


def test_it_is_drawn_first(small_results):
    names = [name for _, name, _ in draw(load_results(small_results))]
    assert names == ["training", "curves", "depth"]


def test_plain_is_left_residual_right_and_unknown_variants_follow(tmp_path):
    write_finals(tmp_path, {(v, d): 5 for v in (PLAIN, RESIDUAL) for d in (8, 20)})
    folder = write_curve(tmp_path, PLAIN, 8, [90, 60, 20, 5], seed=1)
    for name in ("config.yaml", "metrics.csv"):
        (folder / name).write_text((folder / name).read_text().replace("plain", "a_half"))
    figure = training(tmp_path)
    assert [panel.get_title() for panel in figure.axes] == [PLAIN, RESIDUAL, "a_half"]
    assert "8 layers" in texts(figure.axes[2])


def test_lines_are_means_over_the_seeds_with_a_band_of_one_deviation(tmp_path):
    for seed, final in enumerate((10.0, 20.0, 60.0)):
        write_curve(tmp_path, PLAIN, 20, [90, final], seed=seed)
    panel = training(tmp_path).axes[0]
    assert lines(panel)["plain-20 train_error"].get_xydata().tolist() == [[1, 90], [2, 30]]
    band = panel.collections[0].get_paths()[0].vertices[:, 1]
    assert band.max() == pytest.approx(90)
    assert band.min() == pytest.approx(30 - np.std([10, 20, 60], ddof=1))
    assert "± one standard deviation" in legend(panel.figure)


def test_the_x_axis_may_be_iterations(tmp_path):
    write_finals(tmp_path, {(PLAIN, 8): 5})
    panel = training(tmp_path, x="iteration").axes[0]
    assert panel.get_xlabel() == "iteration (minibatches)"
    assert lines(panel)["plain-8 train_error"].get_xdata().tolist() == [12, 24, 36, 48]
    assert panel.get_xlim() == (0, 48)


@pytest.mark.parametrize(
    ("finals", "expected"),
    [
        ({8: 0.0, 20: 0.1, 32: 0.5, 44: 27, 110: 89}, ["8, 20, 32 layers", "44 layers", "110 layers"]),
        ({8: 0.0, 20: 0.0, 32: 0.1, 44: 0.2, 110: 0.3}, ["8 to 110 layers"]),
        ({8: 0.0, 20: 0.0, 32: 0.1, 44: 50, 110: 0.3}, ["8, 20, 32, 110 layers", "44 layers"]),
        ({20: 3.0, 1202: 80}, ["20 layers", "1202 layers"]),
        ({20: 3.0}, ["20 layers"]),
    ],
)
def test_nets_are_named_at_the_ends_of_their_lines_together_where_they_end_together(finals, expected, tmp_path):
    write_finals(tmp_path, {(PLAIN, depth): final for depth, final in finals.items()})
    found = labels(training(tmp_path).axes[0])
    assert [" ".join(text.get_text().split()) for text in found] == expected
    assert [text.xy[0] for text in found] == [4] * len(found)  # the last epoch
    for text in found:
        nets = [final for depth, final in finals.items() if str(depth) in text.get_text().replace(",", " ").split()]
        if "to" not in text.get_text():
            assert text.xy[1] == pytest.approx(np.mean(nets))


@pytest.mark.parametrize(
    "finals",
    [[0, 3, 6, 9, 88, 91], [0, 2.5, 5, 7.5, 10, 12.5], [95, 97.5, 100], [*range(0, 60, 4)], [0, 50, 100], [7] * 8],
    ids=str,
)
def test_labels_do_not_overlap_and_lie_inside_the_figure(finals, tmp_path):
    write_finals(tmp_path, {(v, 8 + 6 * i): final for v in (PLAIN, RESIDUAL) for i, final in enumerate(finals)})
    figure = training(tmp_path)
    for panel in figure.axes:
        found = boxes(panel, labels(panel))
        assert found
        for one_box, other in itertools.combinations(found, 2):
            # Pixels; what is above and below a text's letters may touch.
            assert min(one_box.y1, other.y1) - max(one_box.y0, other.y0) < 0.15 * one_box.height
        assert all(box.x1 <= figure.bbox.x1 and box.y0 >= 0 and box.y1 <= figure.bbox.y1 for box in found)
        others = [other.get_window_extent() for other in figure.axes if other is not panel]
        assert not any(box.overlaps(other) for box in found for other in others)


def test_nets_share_labels_no_more_than_the_space_requires(tmp_path):
    # 16 labels of a line each do not fit beside a panel; those of neighbours in pairs do.
    write_finals(tmp_path, {(PLAIN, 8 + 6 * i): 2.5 * i for i in range(16)})
    found = [text.get_text().split() for text in labels(training(tmp_path).axes[0])]
    assert found == [[f"{8 + 12 * i},", f"{14 + 12 * i}", "layers"] for i in range(8)]


def test_labels_are_moved_as_little_as_they_must():
    assert spread([10, 50], [4, 4], 0, 100) == [10, 50]
    assert spread([50, 50], [4, 4], 0, 100) == [48, 52]
    assert spread([0, 0, 0], [4, 4, 4], 0, 100) == [2, 6, 10]
    assert spread([100, 100], [4, 4], 0, 100) == [94, 98]
    assert spread([10, 11, 50], [4, 8, 4], 0, 100) == pytest.approx([7.5, 13.5, 50])
    assert spread([], [], 0, 100) == []


@pytest.mark.parametrize(
    ("shallow", "deep", "expected"),
    [(1.0, 90.0, "89 points"), (2.0, 2.6, "no gap"), (3.6, 2.9, "no gap"), (2.0, 3.2, "110 layers 1 point worse"),
     (30.0, 10.0, "20 points better"), (7.4, 5.0, "110 layers 2 points better")],
)  # fmt: skip
def test_the_gap_between_deepest_and_shallowest_is_marked_with_its_points(shallow, deep, expected, tmp_path):
    write_finals(tmp_path, {(PLAIN, 8): shallow, (PLAIN, 20): 50, (PLAIN, 110): deep})
    panel = training(tmp_path).axes[0]
    gaps = [text for text in texts(panel) if "point" in text or "gap" in text]
    assert gaps == [expected]
    arrows = [a for a in panel.texts if getattr(a, "arrow_patch", None) and not a.get_text()]
    if abs(deep - shallow) > 10:
        (arrow,) = arrows
        assert (arrow.xyann[1], arrow.xy[1]) == (pytest.approx(shallow), pytest.approx(deep))
        # Between the panel and its labels.
        assert 1 < arrow.xyann[0] == arrow.xy[0] < labels(panel)[0].get_position()[0]
    elif expected == "no gap":
        assert arrows == []


@pytest.mark.parametrize("gap", [12, 20, 40])
def test_a_gap_is_written_between_the_two_ends_where_there_is_room(gap, tmp_path):
    write_finals(tmp_path, {(PLAIN, 8): 10, (PLAIN, 110): 10 + gap})
    panel = training(tmp_path).axes[0]
    (text,) = (text for text in panel.texts if "points" in text.get_text())
    assert 10 < text.get_position()[1] < 10 + gap


@pytest.mark.parametrize(("gap", "has_arrow"), [(3, False), (6, True), (9, True)])
def test_a_gap_without_room_is_written_above_and_has_an_arrow_unless_it_is_too_small_for_one(gap, has_arrow, tmp_path):
    write_finals(tmp_path, {(PLAIN, 8): 50, (PLAIN, 110): 50 + gap})
    panel = training(tmp_path).axes[0]
    (text,) = (text for text in panel.texts if "points" in text.get_text())
    # A line of text is 7 points high, and the curves fall from 90 % behind it.
    assert not 50 - 5 < text.get_position()[1] < 50 + gap + 5
    assert text.get_position()[1] + 5 < 90
    arrows = [a for a in panel.texts if getattr(a, "arrow_patch", None) and not a.get_text()]
    assert bool(arrows) == has_arrow
    # Without an arrow the text says itself which net is meant.
    assert text.get_text() == (f"{gap} points" if has_arrow else f"110 layers\n{gap} points\nworse")


def test_a_gap_of_a_loss_is_said_in_nats():
    assert change_text(1.94, "nats") == "+1.9 nats"
    assert change_text(-0.5, "nats") == "−0.5 nats"
    assert change_text(0.04, "nats") == change_text(-0.99, "points") == "no gap"
    assert change_text(1.2, "points") == "+1 point"


def test_one_depth_has_no_gap(tmp_path):
    write_finals(tmp_path, {(PLAIN, 20): 5, (RESIDUAL, 20): 1})
    for panel in training(tmp_path).axes:
        assert not [text for text in texts(panel) if "point" in text or "gap" in text]


def chance_lines(panel):
    return [line.get_ydata()[0] for line in panel.lines if line.get_label() == "_chance"]


def set_data(results, source, name="mine", **keys):
    for rows in results.rglob("metrics.csv"):
        rows.write_text(rows.read_text().replace("digits", name))
    for config in results.rglob("config.yaml"):
        more = "".join(f"\n  {key}: {value}" for key, value in keys.items())
        config.write_text(
            config.read_text().replace("  classes: null", "").replace("source: digits", f"source: {source}{more}")
        )


@pytest.mark.parametrize(
    ("source", "keys", "level", "name"),
    [("digits", {}, 90, "chance (90 %)"), ("cifar100", {}, 99, "chance (99 %)"), ("npz", {"classes": 3}, 200 / 3,
     "chance (66.7 %)"), ("npz", {}, None, None), ("folder", {"classes": "many"}, None, None),
     # An earlier version did not record the number of classes.
     ("npz", {"name": "cifar10"}, 90, "chance (90 %)")],
)  # fmt: skip
def test_the_chance_level_is_a_thin_line_where_the_number_of_classes_is_known(source, keys, level, name, tmp_path):
    write_finals(tmp_path, {(v, 20): 30 for v in (PLAIN, RESIDUAL)})
    set_data(tmp_path, source, **keys)
    plain, residual = training(tmp_path).axes
    expected = [] if level is None else [pytest.approx(level)]
    assert chance_lines(plain) == chance_lines(residual) == expected
    assert [text for text in texts(plain) if "chance" in text] == ([name] if name else [])
    if name:
        (line,) = (line for line in plain.lines if line.get_label() == "_chance")
        assert line.get_linewidth() < min(style.width for style in depth_styles(load_results(tmp_path)).values())


def test_the_chance_level_of_a_loss_is_the_logarithm_of_the_classes(tmp_path):
    write_finals(tmp_path, {(PLAIN, 20): 30})
    assert chance_lines(training(tmp_path, "loss").axes[0]) == [pytest.approx(math.log(10))]


def test_runs_of_one_data_set_older_and_newer_than_the_recorded_classes_share_its_chance_level(tmp_path):
    write_finals(tmp_path, {(PLAIN, 8): 30, (PLAIN, 20): 30})
    set_data(tmp_path, "npz")
    config = next(tmp_path.rglob("plain-8*/config.yaml"))
    config.write_text(config.read_text().replace("source: npz", "source: npz\n  classes: 4"))
    assert chance_lines(training(tmp_path).axes[0]) == [75]


def test_where_small_errors_differ_a_little_the_axis_is_narrower_and_says_where_chance_is(tmp_path):
    for depth, final in ((20, 8), (56, 13)):
        write_curve(tmp_path, PLAIN, depth, [90, *[final] * 19])
    panel = training(tmp_path).axes[0]
    assert panel.get_ylim()[1] == pytest.approx(39)
    assert "chance (90 %) ↑" in texts(panel)
    assert chance_lines(panel) == []


def test_an_axis_is_not_narrower_than_the_curves(tmp_path):
    for depth, final in ((20, 8), (56, 13)):
        write_curve(tmp_path, PLAIN, depth, [90, 60, 40, final])
    assert training(tmp_path).axes[0].get_ylim()[1] >= 100


def test_a_net_that_was_stopped_says_so_and_has_no_gap(tmp_path):
    write_curve(tmp_path, PLAIN, 8, [60, 20, 5, 2])
    write_curve(tmp_path, PLAIN, 56, [80, 70], epochs=4)
    (next(tmp_path.rglob("plain-56*")) / "outcome.json").unlink()
    panel = training(tmp_path).axes[0]
    assert "56 layers stopped" in texts(panel)
    assert not [text for text in texts(panel) if "point" in text or "gap" in text]


@pytest.mark.parametrize("final", [30, 60, 88])
def test_a_gap_never_covers_the_name_of_the_chance_level(final, tmp_path):
    for lr in (0.02, 0.1):  # small panels
        write_finals(tmp_path, {(PLAIN, 8): final, (PLAIN, 110): final - 12}, lr=lr)
    panel = training(tmp_path).axes[0]
    height = 0.24 * (panel.get_ylim()[1] - panel.get_ylim()[0]) / 1.75
    (chance,) = (text for text in panel.texts if "chance" in text.get_text())
    (gap,) = (text for text in panel.texts if "points" in text.get_text())
    half = height * (1 + gap.get_text().count("\n")) / 2
    bottom, top = chance.get_position()[1], chance.get_position()[1] + height
    assert gap.get_position()[1] + half < bottom or gap.get_position()[1] - half > top


def test_a_net_that_diverged_ends_in_a_cross_and_says_so(tmp_path):
    write_curve(tmp_path, PLAIN, 8, [60, 20, 5, 2])
    write_curve(tmp_path, PLAIN, 56, [80, 90], epochs=4, state="diverged")
    write_curve(tmp_path, PLAIN, 56, [80, 88], epochs=4, state="diverged", seed=1)
    panel = training(tmp_path).axes[0]
    crosses = [line for line in panel.lines if line.get_label() == "plain-56 diverged"]
    assert [(c.get_marker(), c.get_xydata().tolist()) for c in crosses] == [("x", [[2, 90]]), ("x", [[2, 88]])]
    assert "56 layers diverged" in texts(panel)
    assert "87 points" in texts(panel)
    assert "diverged" in legend(panel.figure)


def test_of_a_net_of_which_some_seeds_diverged_the_others_are_averaged_and_no_gap_is_stated(tmp_path):
    write_curve(tmp_path, PLAIN, 8, [60, 5])
    write_curve(tmp_path, PLAIN, 56, [60, 6])
    write_curve(tmp_path, PLAIN, 56, [60, 90], seed=1, state="diverged")
    panel = training(tmp_path).axes[0]
    assert lines(panel)["plain-56 train_error"].get_ydata().tolist() == [60, 6]
    assert lines(panel)["plain-56 train_error seed 1"].get_ydata().tolist() == [60, 90]
    assert "56 layers 1 of 2 diverged" in texts(panel)
    assert not [text for text in texts(panel) if "point" in text or "gap" in text]


def test_a_loss_that_is_not_finite_is_marked_at_the_edge_and_stretches_no_axis(tmp_path):
    write_curve(tmp_path, PLAIN, 8, [60, 5])
    folder = write_curve(tmp_path, PLAIN, 56, [60, 90], state="diverged")
    first, last = read_rows(folder / "metrics.csv")
    write_rows(folder / "metrics.csv", [first, replace(last, train_loss=math.nan, test_loss=math.inf)])
    for name, figure in figures(tmp_path, "loss").items():
        figure.canvas.draw()
        if name != "depth_loss":
            panel = figure.axes[0]
            mark = lines(panel)["plain-56 diverged"]
            assert mark.get_transform() == panel.get_xaxis_transform()
            assert mark.get_xydata().tolist() == [[2, 1]]
            assert panel.get_ylim()[1] < 4
            assert "56 layers diverged" in texts(panel)


def test_a_sweep_that_still_runs_is_drawn_to_where_it_is_and_says_so(tmp_path):
    write_curve(tmp_path, PLAIN, 8, [60, 20, 5, 2])
    folder = write_curve(tmp_path, PLAIN, 56, [80, 70], epochs=4)
    (folder / "outcome.json").unlink()
    assert training(tmp_path).get_suptitle().endswith("one seed (stopped)")
    with locked(folder):
        figure = training(tmp_path)
    assert figure.get_suptitle().endswith("one seed (still running)")
    (label,) = (text for text in labels(figure.axes[0]) if "56" in text.get_text())
    assert label.xy == (2, 70)


def test_a_seed_that_still_runs_does_not_bend_the_mean_of_those_that_have_ended(tmp_path):
    write_curve(tmp_path, PLAIN, 20, [60, 5])
    (write_curve(tmp_path, PLAIN, 20, [99, 99], seed=1) / "outcome.json").unlink()
    assert lines(training(tmp_path).axes[0])["plain-20 train_error"].get_ydata().tolist() == [60, 5]


def test_one_run_of_one_epoch_is_seen_by_its_marker(tmp_path):
    write_curve(tmp_path, RESIDUAL, 20, [60.0])
    (panel,) = training(tmp_path).axes
    assert lines(panel)["residual-20 train_error"].get_marker() not in ("", "None", None)
    assert panel.get_xlim() == (0, 1)
    assert "20 layers" in texts(panel)


def test_the_title_is_for_a_lecture_and_the_details_are_small(small_results):
    figure = training(small_results)
    assert figure.get_suptitle() == "Training error on digits, mean of 2 seeds"
    (details,) = (text for text in figure.texts if "recipe" in text.get_text())
    assert all(part in details.get_text() for part in ("recipe digits", "rate 0.02", "2 epochs", "fp32"))
    assert details.get_fontsize() < 0.75 * figure._suptitle.get_fontsize()


def test_type_is_large_enough_at_a_phones_width(small_results):
    figure = training(small_results)
    # Pixels of a letter's height at a width of 400.
    sizes = {text.get_text(): text.get_fontsize() * 400 / (72 * figure.get_figwidth()) for panel in figure.axes
             for text in (*panel.texts, *panel.get_xticklabels(), panel.title, panel.yaxis.label)}  # fmt: skip
    assert {name: size for name, size in sizes.items() if name and size < 7.9} == {}


@pytest.mark.parametrize("count", [1, 2, 3, 6, 8])
def test_depths_differ_in_grey_print(count, tmp_path):
    for i in range(count):
        write_run(tmp_path, depth=8 + 6 * i)
    styles = list(depth_styles(load_results(tmp_path)).values())
    greys = [grey_of([int(s.colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]) for s in styles]
    steps = np.diff(greys)
    assert (steps > 0.85 * 144 / max(1, count - 1)).all()  # dark to light, in even steps of 255 greys
    assert max(greys) < 180
    assert all(a.dash != b.dash and a.width > b.width for a, b in itertools.pairwise(styles))
    # Gaps in widths of the line: longer ones would make dots of a thin line.
    assert all(max(s.dash[1][1::2]) <= 1.2 for s in styles if s.dash != "solid")


@pytest.mark.parametrize(
    ("metric", "column", "label"),
    [("train", "train_error", "training error (%)"), ("test", "test_error", "test error (%)"),
     ("loss", "train_loss", "training loss (nats)"), ("both", "train_error", "training error (%)")],
)  # fmt: skip
def test_another_metric_is_drawn_and_named_alike(metric, column, label, tmp_path):
    write_finals(tmp_path, {(PLAIN, 8): 5, (PLAIN, 56): 80})
    panel = training(tmp_path, metric).axes[0]
    assert panel.get_ylabel() == label
    table = load_results(tmp_path)
    assert lines(panel)[f"plain-8 {column}"].get_ydata().tolist() == table[table.depth == 8][column].tolist()
    assert panel.figure.get_suptitle() == f"{label.partition(' (')[0].capitalize()} on digits, one seed"


def test_the_title_says_where_settings_differ_in_the_number_of_their_seeds(tmp_path):
    for seed in range(3):
        write_curve(tmp_path, PLAIN, 20, [60, 5], seed=seed, lr=0.1)
    write_curve(tmp_path, PLAIN, 20, [60, 5], lr=0.2)
    assert training(tmp_path).get_suptitle() == "Training error on digits, mean of 1 to 3 seeds"
