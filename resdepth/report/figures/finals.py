"""The figures of final errors: against depth, and against the learning rate."""

import math
import textwrap
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from resdepth.report.comparison import LEARNING_RATE, ended_runs, variants_in
from resdepth.report.figures.grid import Cell, Settings, label_y, make_grid
from resdepth.report.figures.labels import End, change_text, draw_chance, label_ends
from resdepth.report.figures.lines import depth_styles, diverged_mark, variant_styles
from resdepth.report.figures.metric import Metric, chance_level
from resdepth.report.figures.wording import details_of, title_of

# How the last value of a single seed is drawn.
_SEED: dict[str, Any] = {"label": "_seeds", "clip_on": False, "markersize": 14, "markeredgewidth": 1.8}


def draw_depth(settings: Settings, metric: Metric, at: str = "") -> Figure:
    """Plot the metric's final value against depth: variants' means as lines, seeds as dashes. `at` ends the title.

    Lines are named at their ends, with what the deepest net has more or less than the shallowest.
    """
    finals = _finals(settings)
    title = title_of(settings, f"final {metric.name}", at)
    figure, cells = make_grid(settings, title, details_of(settings), by_variant=False, legend=_marks(finals))
    styles = variant_styles(variants_in(finals))
    _limit(cells, finals, metric)
    label_y(figure, cells, f"final {metric.name} ({metric.unit})")
    depths = sorted(set(finals.depth))
    for cell in cells:
        here, ends = ended_runs(cell.rows), []
        for variant in variants_in(here):
            runs, style = here[here.variant == variant], styles[variant]
            mean = _means(runs, "depth", metric)
            is_hollow = variant != next(iter(styles))
            face: dict[str, Any] = {"markerfacecolor": "none", "markersize": 11} if is_hollow else {"markersize": 8}
            cell.panel.plot(
                mean.index,
                mean.to_numpy(),
                marker=style.marker,
                markeredgewidth=1.8,
                label=variant,
                **style.line,
                **face,
            )
            cell.panel.plot(runs.depth, runs[metric.column], "_", color=style.colour, **_SEED)
            note = textwrap.fill(change_text(mean.iloc[-1] - mean.iloc[0], metric.points), 12) if len(mean) > 1 else ""
            ends += [End(float(mean.index[-1]), float(mean.iloc[-1]), variant, style.colour, note)] if len(mean) else []
        _mark_diverged(cell.panel, here, "depth", metric)
        if depths[-1] > 20 * depths[0]:
            cell.panel.set_xscale("log")
        cell.panel.set_xticks(depths, [str(depth) for depth in depths])
        _finish(cell, metric, ends, depths[-1], "depth (layers)")
    return figure


def draw_rates(settings: Settings, metric: Metric) -> Figure:
    """Plot final values against the learning rate: a panel per variant, a line per depth, a marker per seed."""
    finals = _finals(settings)
    title = title_of(settings, f"final {metric.name}", f" at {finals[LEARNING_RATE].nunique()} learning rates")
    marks = _marks(finals, "o")
    figure, cells = make_grid(settings, title, details_of(settings), by_variant=True, legend=marks)
    styles = depth_styles(finals)
    _limit(cells, finals, metric)
    label_y(figure, cells, f"final {metric.name} ({metric.unit})")
    ticks = sorted(set(finals[LEARNING_RATE]))
    for cell in cells:
        here, ends = ended_runs(cell.rows), []
        for name, runs in here.groupby("depth"):
            depth = int(str(name))
            style = styles[depth]
            mean = _means(runs, LEARNING_RATE, metric)
            cell.panel.plot(mean.index, mean.to_numpy(), label=f"{depth} layers", **style.line)
            seeds = {**_SEED, "markersize": 6, "markeredgewidth": 1, "alpha": 0.6}
            cell.panel.plot(runs[LEARNING_RATE], runs[metric.column], style.marker, color=style.colour, **seeds)
            ends += [End(float(mean.index[-1]), float(mean.iloc[-1]), depth, style.colour)] if len(mean) else []
        cell.panel.set_xscale("log")
        cell.panel.set_xticks(ticks, [f"{tick:g}".removeprefix("0") for tick in ticks])
        _mark_diverged(cell.panel, here, LEARNING_RATE, metric)
        _finish(cell, metric, ends, ticks[-1], "learning rate")
    return figure


def _means(runs: pd.DataFrame, x: str, metric: Metric) -> "pd.Series[float]":
    """Return the metric's mean at each x, without those at which it was not measured or is not finite."""
    return runs.groupby(x)[metric.column].mean().replace([math.inf, -math.inf], math.nan).dropna()


def _finals(settings: Settings) -> pd.DataFrame:
    """Return the last rows of all runs that have ended; for a net with none of them, of all its runs."""
    return pd.concat([ended_runs(comparison.rows) for comparison in settings.comparisons])


def _marks(finals: pd.DataFrame, marker: str = "_") -> list[Line2D | Patch]:
    """Return the legend's entries for seeds and diverged runs, where there are any."""
    found: list[Line2D | Patch] = []
    if finals.seed.nunique() > 1:
        size = 14 if marker == "_" else 7
        found.append(Line2D([], [], color="black", linestyle="", marker=marker, markersize=size, label="one seed"))
    if "diverged" in set(finals.state):
        found.append(diverged_mark())
    if finals.depth.nunique() > 1 and marker == "_":
        found.append(Line2D([], [], linestyle="", label="points: deepest net against shallowest"))
    return found


def _mark_diverged(panel: Axes, finals: pd.DataFrame, x: str, metric: Metric) -> None:
    diverged = finals[finals.state == "diverged"]
    if not diverged.empty:
        look: dict[str, Any] = {"color": "black", "markersize": 9, "markeredgewidth": 2}
        panel.plot(diverged[x], diverged[metric.column], "x", label="diverged", clip_on=False, zorder=4, **look)


def _limit(cells: list[Cell], finals: pd.DataFrame, metric: Metric) -> None:
    """Set the y axis from just below zero to just above the highest value, and the chance level if that is near."""
    values = finals[metric.column].replace([math.inf, -math.inf], math.nan)
    # At a finer scale a difference that is "no gap" would look like one.
    highest = max(float(values.max()) if values.notna().any() else 0.0, 0.5 if metric.is_loss else 5.0)
    chance = chance_level(finals, metric) or 0.0
    if highest > chance / 3:
        highest = max(highest, chance * (1.08 if cells[0].size[1] > 2 else 1.15))
    elif chance:
        highest *= 1 + 0.3 / cells[0].size[1]  # room for its name above all values
    cells[0].panel.set_ylim(-0.04 * highest, 1.04 * highest)


def _finish(cell: Cell, metric: Metric, ends: list[End], right: float, xlabel: str) -> None:
    """Draw the chance level, the labels at the lines' ends, and the names of the axes at the grid's edges."""
    cell.panel.minorticks_off()
    draw_chance(cell.panel, chance_level(cell.rows, metric), metric.unit, cell.size, is_named=cell.is_first)
    label_ends(cell.panel, ends, cell.size, right)
    if cell.is_last:
        cell.panel.set_xlabel(xlabel)
