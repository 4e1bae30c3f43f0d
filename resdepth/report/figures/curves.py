"""The figures of training: `training`, of one metric, and `curves`, the training and the test error of the paper."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator

from resdepth.report.comparison import LEARNING_RATE, ended_runs
from resdepth.report.figures.grid import Cell, Settings, label_y, make_grid
from resdepth.report.figures.labels import End, draw_chance, label_ends, mark_gap
from resdepth.report.figures.lines import LineStyle, depth_styles, diverged_mark
from resdepth.report.figures.metric import Metric, chance_level, name_of
from resdepth.report.figures.wording import details_of, title_of

X_AXES = {"epoch": "epoch", "iteration": "iteration (minibatches)"}
# What a net's line is drawn from, besides the two axes.
_COLUMNS = ("experiment", "run", "state", "variant", "depth", "seed", "epoch", "epoch_seconds", LEARNING_RATE)
# Percent: where all final errors are below the first and differ by less than the second, an axis to 100 % hides them.
_SMALL, _SMALL_GAP = 25.0, 10.0


def draw_training(settings: Settings, metric: Metric, x: str = "epoch") -> Figure:
    """Plot the metric against `x`: a panel per variant, nets named at their lines' ends, gap and chance level marked.

    Lines are means over the seeds that have not diverged, with one standard deviation; a diverged seed ends in a cross.
    """
    figure, cells, styles = _panels(settings, title_of(settings, metric.name), x, _marks(settings.whole.rows))
    drawn = [(cell, _draw_nets(cell.panel, cell.rows, metric.column, x, styles)) for cell in cells]
    ends = [end for _, found in drawn for end in found]
    _limit(cells, ends, metric)
    for cell, found in drawn:
        draw_chance(cell.panel, chance_level(cell.rows, metric), metric.unit, cell.size, is_named=cell.is_first)
        by_depth = sorted(found, key=lambda end: int(end.name))
        # The mean of the other seeds would hide that some diverged; a net that was stopped has not been trained out.
        if len(found) > 1 and not any(" of " in e.note or e.note == "stopped" for e in (by_depth[0], by_depth[-1])):
            mark_gap(cell.panel, by_depth[0], by_depth[-1], metric.points, cell.size)
        label_ends(cell.panel, found, cell.size, cell.panel.get_xlim()[1])
    label_y(figure, cells, f"{metric.name} ({metric.unit})")
    return figure


def draw_curves(settings: Settings, metric: Metric, x: str = "epoch") -> Figure:
    """Plot as in He et al. 2015, figure 6: training dashed and thin, test bold, a panel per variant, a line per depth.

    A metric of one column is drawn bold. Nets are named at the ends of their bold lines.
    """
    rows = settings.whole.rows
    lines: list[Line2D | Patch] = [
        Line2D([], [], color="black", linestyle="-" if is_bold else "--", linewidth=2.6 if is_bold else 1.3,
               label=name_of(column))
        for column, is_bold in _looks(metric)
    ]  # fmt: skip
    title = title_of(settings, metric.curves_name)
    figure, cells, styles = _panels(settings, title, x, [*lines, *_marks(rows)])
    thin = {d: replace(style, width=0.45 * style.width, dash=(0, (3, 1.5))) for d, style in styles.items()}
    bold = {d: replace(style, dash="solid") for d, style in styles.items()}
    drawn = []
    for cell in cells:
        found: list[End] = []
        for column, is_bold in _looks(metric):
            found = _draw_nets(cell.panel, cell.rows, column, x, bold if is_bold else thin, is_marked=is_bold)
        drawn.append((cell, found))
    _limit_curves(cells, [end for _, found in drawn for end in found], metric)
    for cell, found in drawn:
        label_ends(cell.panel, found, cell.size, cell.panel.get_xlim()[1])
    label_y(figure, cells, "cross-entropy (nats)" if metric.is_loss else _error_label(metric))
    return figure


def _limit_curves(cells: Sequence[Cell], ends: Sequence[End], metric: Metric) -> None:
    """Set the y axis of `curves` to the range of all lines, of a loss at most to half as much again as it ends with."""
    top = max(cell.panel.dataLim.y1 for cell in cells)
    top = 1.02 * top if math.isfinite(top) and top > 0 else 1.0
    top = min(top, _highest_loss(cells, ends, metric) if metric.is_loss else 100.0)
    cells[0].panel.set_ylim(-0.02 * top, top)


def _highest_loss(cells: Sequence[Cell], ends: Sequence[End], metric: Metric) -> float:
    """A loss may begin at 1e25: show what lies near the chance level and the last values."""
    chances = [chance_level(cell.rows, metric) or 1.0 for cell in cells]
    return 1.5 * max(*chances, *(end.y for end in ends if math.isfinite(end.y)), 0.0)


def _looks(metric: Metric) -> list[tuple[str, bool]]:
    """Return the columns of `curves`, the last of them bold."""
    return [(column, column == metric.curves[-1]) for column in metric.curves]


def _error_label(metric: Metric) -> str:
    return "error (%)" if len(metric.curves) > 1 else f"{name_of(metric.curves[0])} (%)"


def _marks(rows: pd.DataFrame) -> list[Line2D | Patch]:
    """Return the legend's entries for band and cross, where there are any."""
    found: list[Line2D | Patch] = []
    if rows.seed.nunique() > 1:
        found.append(Patch(color="black", alpha=0.2, linewidth=0, label="± one standard deviation"))
    if "diverged" in set(rows.state):
        found.append(diverged_mark())
    return found


def _panels(
    settings: Settings, title: str, x: str, legend: Sequence[Line2D | Patch]
) -> tuple[Figure, list[Cell], dict[int, LineStyle]]:
    """Return the figure, its panels with their x axes set, and a style per depth."""
    rows = settings.whole.rows
    lasts = rows.groupby("run")[x].max()
    is_one_length = all(comparison.rows[x].max() == lasts.max() for comparison in settings.comparisons)
    figure, cells = make_grid(
        settings, title, details_of(settings), by_variant=True, legend=legend, share_x=is_one_length
    )
    for cell in cells:
        last = max(c.rows[x].max() for c in settings.comparisons if set(cell.rows.run) <= set(c.rows.run))
        cell.panel.set_xlim(0, last)
        cell.panel.xaxis.set_major_locator(MaxNLocator(nbins=4, integer=True, steps=[1, 2, 5, 10]))
        cell.panel.xaxis.set_major_formatter(
            FuncFormatter(lambda at, _: f"{at / 1000:g}k" if at >= 10_000 else f"{at:g}")
        )
        if cell.is_last:
            cell.panel.set_xlabel(X_AXES[x])
    return figure, cells, depth_styles(rows)


def _draw_nets(
    panel: Axes, rows: pd.DataFrame, column: str, x: str, styles: dict[int, LineStyle], *, is_marked: bool = True
) -> list[End]:
    """Plot every net of a panel, the deepest last and so on top, and return the ends of their lines."""
    # Selecting runs from some sixty columns would take most of the time.
    nets = rows[list(dict.fromkeys([*_COLUMNS, x, column]))].groupby("depth")
    found = [_draw_net(panel, runs, column, x, styles[int(str(depth))], is_marked) for depth, runs in nets]
    return [end for end in found if end]


def _draw_net(panel: Axes, runs: pd.DataFrame, column: str, x: str, style: LineStyle, is_marked: bool) -> End | None:
    """Plot mean and deviation over the seeds of one net; a diverged seed is a thin line that ends in a cross."""
    ended = ended_runs(runs)
    # The mean would jump at the last epoch of a seed that is still running.
    runs = runs[runs.run.isin(ended.run)]
    has_diverged = runs.state == "diverged"
    depth = int(runs.depth.iloc[0])
    name = f"{runs.variant.iloc[0]}-{depth} {column}"
    values = runs[~has_diverged].dropna(subset=[column]).groupby(x)[column]
    mean, deviation = values.mean(), values.std(ddof=1).fillna(0)
    # A line through one or two points is hardly visible.
    marker = style.marker if len(mean) < 3 else ""
    look = {"color": style.colour, "linestyle": style.dash}
    panel.plot(
        mean.index, mean.to_numpy(), marker=marker, markersize=6, linewidth=style.width, label=name, clip_on=not marker,
        zorder=3, **look,
    )  # fmt: skip
    if runs.seed.nunique() > 1:
        band = (mean - deviation, mean + deviation)
        panel.fill_between(mean.index, *band, color=style.colour, alpha=0.15, linewidth=0)
    for seed, run in runs[has_diverged].dropna(subset=[column]).groupby("seed"):
        panel.plot(run[x], run[column], linewidth=0.5 * style.width, label=f"{name} seed {seed}", **look)
    diverged = ended[ended.state == "diverged"]
    for at, value in zip(diverged[x], diverged[column], strict=True):
        if is_marked:
            # A loss that is not finite is marked at the panel's upper edge.
            y, where = (value, panel.transData) if math.isfinite(value) else (1.0, panel.get_xaxis_transform())
            panel.plot(
                at, y, "x", color=style.colour, markersize=9, markeredgewidth=2, transform=where, clip_on=False,
                label=f"{runs.variant.iloc[0]}-{depth} diverged", zorder=4,
            )  # fmt: skip
    return _end_of(mean, ended, column, x, style.colour)


def _end_of(mean: "pd.Series[float]", ended: pd.DataFrame, column: str, x: str, colour: str) -> End | None:
    """Return where a net's line ends: its mean; if every seed has diverged, the mean of their last values."""
    depth, diverged = int(ended.depth.iloc[0]), ended[ended.state == "diverged"]
    if len(mean):
        note = f"{len(diverged)} of {len(ended)}\ndiverged" if len(diverged) else ""
        note = "stopped" if not note and set(ended.state) == {"stopped"} else note
        return End(float(mean.index[-1]), float(mean.iloc[-1]), depth, colour, note)
    if diverged.empty:
        return None
    return End(float(diverged[x].max()), float(diverged[column].mean(skipna=False)), depth, colour, "diverged")


def _limit(cells: Sequence[Cell], ends: Sequence[End], metric: Metric) -> None:
    """Set the y axis: errors from 0 to 100 %, but narrower where all final errors are small and yet differ."""
    finals = [end.y for end in ends if math.isfinite(end.y)] or [1.0]
    chances = [chance_level(cell.rows, metric) or 0.0 for cell in cells]
    if metric.is_loss:
        top = _highest_loss(cells, ends, metric)
    elif max(finals) < _SMALL and 1 <= max(finals) - min(finals) < _SMALL_GAP and _most_below(cells, 3 * max(finals)):
        top = 3 * max(finals)
    else:
        # Above the line of the chance level there is room for its name.
        top = max(100.0, max(chances) + (10 if cells[0].size[1] > 2 else 18))
    cells[0].panel.set_ylim(-0.02 * top, top)


def _most_below(cells: Sequence[Cell], top: float) -> bool:
    """Whether at least nine of ten points of the curves are below a height."""
    values = np.concatenate([np.asarray(line.get_ydata(), float) for c in cells for line in c.panel.get_lines()])
    return bool((values <= top).mean() >= 0.9)
