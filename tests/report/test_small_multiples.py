"""An experiment that sweeps more than depth, variant and seed: one figure of each kind, a panel for each setting."""

import matplotlib.pyplot as plt
import pytest
from support.commands import ROOT
from support.figures import figures, lines, texts, write_finals

from resdepth.report.comparison import comparisons
from resdepth.report.figures.grid import MOST_PANELS, Settings
from resdepth.report.figures.wording import details_of
from resdepth.results.table import load_results

KINDS = {"training", "curves", "depth", "rates", "depth_best_rate"}


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def settings_of(figure):
    """The names of the settings: what stands above the panels, at their left edges."""
    return [text.get_text() for panel in figure.axes for text in panel.texts if getattr(text, "xy", None) == (0, 1)]


@pytest.mark.parametrize("experiment", ["digits", "digits_1202", "dense_identity"])
def test_the_published_figures_are_those_that_the_program_draws(experiment):
    folder = ROOT / "results" / "published" / experiment
    drawn = {f"{name}.{suffix}" for name in figures(folder) for suffix in ("png", "svg")}
    assert {path.name for path in (folder / "figures").iterdir()} == drawn


def test_a_sweep_of_rates_and_lengths_gives_one_figure_of_each_kind():
    found = figures(ROOT / "results" / "published" / "digits_rates")
    assert set(found) == KINDS
    published = (ROOT / "results" / "published" / "digits_rates" / "figures").iterdir()
    assert {path.name for path in published} == {f"{kind}.{suffix}" for kind in KINDS for suffix in ("png", "svg")}
    assert {kind: len(figure.axes) for kind, figure in found.items()} == {
        "training": 20, "curves": 20, "depth": 10, "rates": 4, "depth_best_rate": 2,
    }  # fmt: skip
    rates = ("0.002", "0.005", "0.02", "0.05", "0.1")
    expected = [f"rate {rate}, {epochs} epochs" for rate in rates for epochs in (20, 60)]
    assert settings_of(found["training"]) == settings_of(found["curves"]) == settings_of(found["depth"]) == expected
    assert "20 epochs" in texts(found["rates"].axes[0])
    assert "60 epochs" in texts(found["depth_best_rate"].axes[1])


def test_axes_are_shared_and_each_length_has_its_own_x_axis(tmp_path):
    for epochs, final in ((4, 20), (8, 60)):
        write_finals(tmp_path, {(v, d): final for v in ("plain", "residual") for d in (8, 20)}, epochs=epochs)
    panels = figures(tmp_path)["training"].axes
    assert [panel.get_title() for panel in panels] == ["plain", "residual", "", ""]
    assert len({panel.get_ylim() for panel in panels}) == 1
    assert [panel.get_xlim()[1] for panel in panels] == [4, 4, 8, 8]
    assert [panel.get_xlabel() for panel in panels] == ["", "", "epoch", "epoch"]
    ends = [lines(panel)["plain-8 train_error"].get_ydata()[-1] for panel in panels[::2]]
    assert ends == [20, 60]


def test_lengths_in_epochs_and_in_iterations_are_both_said(tmp_path):
    write_finals(tmp_path, {("plain", 8): 5})
    write_finals(tmp_path, {("plain", 8): 7}, epochs=3)
    config = next(tmp_path.rglob("*epochs=3/config.yaml"))
    text = config.read_text().replace("epochs: 3\n", "epochs: null\n").replace("iterations: null", "iterations: 1200")
    config.write_text(text)
    assert settings_of(figures(tmp_path)["training"]) == ["4 epochs", "1,200 iterations"]


def test_what_all_settings_share_is_in_the_details_and_what_differs_is_not():
    figure = figures(ROOT / "results" / "published" / "dense_identity")["training"]
    assert len(figure.axes) == 8
    assert settings_of(figure) == [
        f"{norm}batch norm, {zero}zero init residual" for norm in ("no ", "") for zero in ("no ", "")
    ]
    (details,) = (text.get_text() for text in figure.texts if "recipe" in text.get_text())
    assert "dense nets, recipe digits (rate 0.005, 20 epochs)" in details
    assert "batch" not in details


def test_a_setting_that_lacks_a_variant_leaves_its_place_empty(tmp_path):
    write_finals(tmp_path, {(v, 8): 5 for v in ("plain", "residual")}, lr=0.1)
    write_finals(tmp_path, {("residual", 8): 7}, lr=0.01)
    figure = figures(tmp_path)["training"]
    assert settings_of(figure) == ["rate 0.01", "rate 0.1"]
    assert [panel.get_title() for panel in figure.axes] == ["plain", "residual", "", ""]
    assert [panel.axison for panel in figure.axes] == [False, True, True, True]
    assert [bool(panel.lines) for panel in figure.axes] == [False, True, True, True]
    # The first panel of each row has the numbers of the y axis.
    shown = [panel.yaxis.get_tick_params()["labelleft"] for panel in figure.axes[1:]]
    assert shown == [True, True, False]


def test_more_panels_than_are_legible_are_divided_by_one_key(tmp_path):
    for width in range(8, 8 + 6):
        for epochs in (2, 3, 4):
            write_finals(tmp_path, {(v, 8): 5 for v in ("plain", "residual")}, width=width, epochs=epochs)
    found = figures(tmp_path)
    assert set(found) == {f"{kind}_recipe.epochs={n}" for kind in ("training", "curves") for n in (2, 3, 4)}
    assert all(len(figure.axes) == 12 <= MOST_PANELS for figure in found.values())
    assert all(f"{name[-1]} epochs" in " ".join(t.get_text() for t in f.texts) for name, f in found.items())


def test_the_details_of_a_single_setting_name_what_tells_it_from_those_in_other_figures(tmp_path):
    for width in (16, 24):
        write_finals(tmp_path, {("plain", 8): 5}, width=width)
    _, wide = comparisons(load_results(tmp_path))
    assert "model.width 24" in details_of(Settings((wide,), {}))


def test_a_single_setting_has_no_heading_of_its_own(small_results):
    assert settings_of(figures(small_results)["training"]) == []
