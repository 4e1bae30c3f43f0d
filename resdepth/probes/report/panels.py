"""The panels, lines and axes that all probes' figures are made of."""

import math
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from resdepth.probes.report.table import count_seeds
from resdepth.report.style import PALETTE, STYLE

# Large enough to be read on a slide, and at a width of 400 pixels on a phone.
_SIZES = ("font.size", "axes.titlesize", "axes.labelsize", "figure.titlesize", "legend.fontsize")
LARGE: dict[Any, Any] = STYLE | dict.fromkeys(_SIZES, 13)
LARGE |= {"xtick.labelsize": 12, "ytick.labelsize": 12, "lines.linewidth": 2, "lines.markersize": 7}
MARKERS = ("o", "s", "^", "D", "v", "P")
# Of more panels beside each other, the text is not legible at a width of 400 pixels.
_MOST_ACROSS = 3


@dataclass
class Panel:
    """Axes, their row and column, the measure on their y axis, the title, and the rows to draw."""

    axes: Axes
    at: tuple[int, int]
    measure: str
    name: str
    rows: pd.DataFrame


def make_panels(
    rows: pd.DataFrame, down: list[str], across: list[str], size: Any, measures: Any = ("",), share: Any = "row"
) -> tuple[Figure, list[Panel]]:
    """Return a figure with a panel for every combination of the columns `down` and `across` that has rows.

    Below each combination of `down`, `measures` are stacked. A panel's name is the net and what else differs. `size` is
    a panel's (width, height) in inches, `share` pyplot's sharey.
    """
    keys = [rows[columns].drop_duplicates().sort_values(columns) for columns in (down, across)]
    if len(measures) == 1 and len(keys[1]) > max(_MOST_ACROSS, len(keys[0])):
        keys.reverse()
    shape = (len(keys[0]) * len(measures), len(keys[1]))
    inches = (max(5.6, 1.2 + size[0] * shape[1]), 1.6 + size[1] * shape[0])
    figure, grid = plt.subplots(*shape, figsize=inches, squeeze=False, layout="constrained", sharey=share)
    panels = []
    for i, (_, upper) in enumerate(keys[0].iterrows()):
        for j, (_, left) in enumerate(keys[1].iterrows()):
            wanted = {**left, **upper}
            part = rows[np.logical_and.reduce([rows[column] == value for column, value in wanted.items()])]
            shown = [k for k in wanted if k == "net" or rows[k].nunique() > 1]
            name = ", ".join(f"{wanted[k]} layers" if k == "depth" else str(wanted[k]) for k in shown)
            for k, measure in enumerate(measures):
                at = (i * len(measures) + k, j)
                if part.empty:
                    grid[at].remove()
                else:
                    panels.append(Panel(grid[at], at, measure, name if k == 0 else "", part))
    return figure, panels


def label_edges(panels: Sequence[Panel], x: str, y: dict[str, str], *, inner_ticks: bool = False) -> None:
    """Label the y axis of each row's first panel by its measure, and the x axis of each column's last panel."""
    first, last = {p.at[0]: p for p in reversed(panels)}, {p.at[1]: p for p in panels}
    for panel in panels:
        if panel is first[panel.at[0]]:
            panel.axes.set_ylabel(y[panel.measure])
            panel.axes.tick_params(labelleft=True)
        if panel is last[panel.at[1]]:
            panel.axes.set_xlabel(x)
        elif not inner_ticks:
            panel.axes.tick_params(labelbottom=False)


def split(rows: pd.DataFrame, *columns: str) -> Iterator[tuple[Any, pd.DataFrame]]:
    """Yield the values of the columns, and their rows, for each combination that has rows."""
    yield from rows.groupby([*columns], observed=True)


def draw_line(panel: Panel, rows: pd.DataFrame, x: str, y: str, mean: Any, **style: Any) -> None:
    """Draw the mean over seeds (`mean` is a name or a function) as a line, and their range as a band."""
    groups = rows.dropna(subset=[y]).groupby(x, observed=True)[y]
    middle = groups.agg(mean)
    if middle.empty:
        return
    panel.axes.plot(middle.index, middle.to_numpy(), markevery=max(1, len(middle) // 6), **style)
    if rows.seed.nunique() > 1:
        band = (groups.min().to_numpy(), groups.max().to_numpy())
        panel.axes.fill_between(middle.index, *band, color=style["color"], alpha=0.18, linewidth=0)


def depth_styles(rows: pd.DataFrame) -> dict[int, dict[str, Any]]:
    """Return colour and marker of every depth, from the deepest, dark to light; the marker for those who see none."""
    depths, scale = sorted(set(rows.depth), reverse=True), matplotlib.colormaps["viridis"]
    colours = (matplotlib.colors.to_hex(scale(0.82 * i / max(1, len(depths) - 1))) for i in range(len(depths)))
    return {d: {"color": c, "marker": MARKERS[i % 6]} for i, (d, c) in enumerate(zip(depths, colours, strict=True))}


def net_styles(rows: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Return colour and marker of every net, in their order."""
    nets = rows.net.cat.remove_unused_categories().cat.categories
    return {net: {"color": PALETTE[i % 6], "marker": MARKERS[i % 6]} for i, net in enumerate(nets)}


def finish(figure: Figure, title: str, rows: pd.DataFrame, handles: Sequence[Line2D | Patch] = ()) -> Figure:
    """Add the title, what was measured (model, setting, number of seeds), and with `handles` a legend below."""
    names = [str(rows[c].iloc[0]) for c in ("dataset", "model", "setting") if c in rows and rows[c].nunique() == 1]
    names += [f"{rows.depth.iloc[0]} layers"] if rows.depth.nunique() == 1 else []
    # At 13 points a character is about 0.095 inches wide.
    width = int(figure.get_figwidth() / 0.095)
    lines = (title, ", ".join([*names, count_seeds(rows)]))
    figure.suptitle("\n".join(textwrap.fill(line, width) for line in lines))
    if handles:
        band = [Patch(color="black", alpha=0.18, linewidth=0, label="range of the seeds")]
        entries = [*handles, *(band if rows.seed.nunique() > 1 else [])]
        longest = max(len(str(entry.get_label())) for entry in entries)
        height = math.ceil(len(entries) / max(1, width // (longest + 6)))
        figure.legend(handles=entries, loc="outside lower center", ncols=math.ceil(len(entries) / height))
    return figure


def depth_handles(styles: dict[int, dict[str, Any]], **more: Any) -> list[Line2D]:
    """Return a legend's entries for the depths."""
    return [Line2D([], [], **style, **more, label=f"{depth} layers") for depth, style in styles.items()]


def set_depth_axis(axes: Axes, depths: Sequence[int]) -> None:
    """Make the x axis logarithmic, with a tick at every depth."""
    axes.set_xscale("log")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(depths, [str(depth) for depth in depths])
    axes.set_xlim(depths[0] / 1.15, depths[-1] * 1.15)


def set_log_axis(axes: Axes) -> None:
    """Make the y axis logarithmic, with few labels: below a decade at every minor tick, below two at 2 and 5."""
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    labelled = range(2, 10) if high < 10 * low else (2, 5) if high < 100 * low else ()

    def format_minor(value: float, _: int | None) -> str:
        return f"{value:.2g}" if round(value / 10 ** math.floor(math.log10(value))) in labelled else ""

    axes.yaxis.set_major_locator(LogLocator(numticks=6))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: format_power(value)))
    axes.yaxis.set_minor_formatter(FuncFormatter(format_minor))


def set_zero_axis(panels: list[Axes], values: "pd.Series[float]") -> None:
    """Make the y axes logarithmic; where there are exact zeros, they are at the bottom."""
    positive = values[values > 0]
    if len(positive) == len(values.dropna()):
        for axes in panels:
            set_log_axis(axes)
        return
    ends = (positive.min(), positive.max()) if len(positive) else (1e-6, 1.0)
    low, high = math.floor(math.log10(ends[0])), math.ceil(math.log10(ends[1]))
    powers = [10.0**power for power in range(high, low, -max(1, (high - low) // 3))]
    for axes in panels:
        axes.set_yscale("symlog", linthresh=10.0**low)
        axes.set_yticks([0, *powers], ["exactly 0", *map(format_power, powers)])
        axes.minorticks_off()
        axes.set_ylim(-0.4 * 10.0**low, 2 * 10.0**high)


def format_power(value: float) -> str:
    """Format a power of ten: as a number if it is short, else as a power."""
    power = math.log10(value)
    return f"{value:,g}" if abs(power) <= 3 else f"$10^{{{power:.0f}}}$"
