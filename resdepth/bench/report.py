"""What a bench shows: a table while it runs, its findings in words, and the figure. Reads bench.csv; no torch."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, NullLocator, StrMethodFormatter

from resdepth.bench.cost import USUAL, Cost, SweepTime
from resdepth.report.style import STYLE

# Okabe and Ito's colours, told apart by the colour-blind.
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_STYLES = {"plain": "--", "residual": "-"}


def line(cost: Cost) -> str:
    """A measurement in one line."""
    what = _what(cost) + (f", {cost.at_once} at once" if cost.at_once > 1 else "")
    if cost.note:
        return f"{what}: {cost.note}"
    spread = f"{_ms(cost.step_ms)} ms a step ({_ms(cost.step_ms_low)} to {_ms(cost.step_ms_high)})"
    floor = f"{cost.ratio_to_floor:.1f} times the floor"
    return f"{what}: {spread}, {cost.images_per_second:,.0f} images/s, {cost.peak_memory_mib:,.0f} MiB, {floor}"


def _what(cost: Cost) -> str:
    recomputed = ", gradient checkpointing" if cost.gradient_checkpointing else ""
    return f"{cost.variant}-{cost.depth}, {cost.engine}, {cost.precision}{recomputed}"


def _ms(value: float) -> str:
    """Three digits, or all before the point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def sweep_line(row: SweepTime) -> str:
    """A timed sweep in one line."""
    share = "" if row.ratio == 1 else f", {row.ratio:.2f} of the plain loop's time"
    return f"{row.way}: {row.seconds:.1f} s{share}"


def findings(costs: Sequence[Cost]) -> list[str]:
    """Each net's step beside the usual loop's, and what several at once gain."""
    lines = []
    for cost in costs:
        beside = [c for c in costs if (c.variant, c.depth, c.data) == (cost.variant, cost.depth, cost.data)]
        name = _what(cost)
        for usual in (c for c in beside if c.engine == USUAL and cost.engine != USUAL and cost.at_once == 1):
            share = f"{cost.step_ms / usual.step_ms:.2f} of the usual loop's step ({usual.precision})"
            lines.append(f"{name}: {share}, {cost.ratio_to_floor:.1f} times the floor")
        same = [c for c in beside if _what(c) == name and c.at_once == 1]
        if cost.at_once > 1 and same:
            gain = cost.images_per_second / same[0].images_per_second
            lines.append(f"{name}: {cost.at_once} at once train {gain:.2f} times as many images a second as one")
    return lines


def draw(csv: Path) -> Figure:
    """Time a step, its ratio to the floor, and memory, against depth: a line per engine, precision and variant."""
    rows = pd.read_csv(csv, keep_default_na=True)
    rows = rows[rows.step_ms.notna()]
    rows["floor_ms"] = rows[["bytes_floor_ms", "operations_floor_ms"]].max(axis=1)
    rows["ratio"] = rows.step_ms / rows.floor_ms
    rows["line"] = [_name(row) for _, row in rows.iterrows()]
    with matplotlib.rc_context(STYLE):
        figure, panels = plt.subplots(1, 3, figsize=(13.5, 4.2))
        titles = {
            "step_ms": "milliseconds a step and run",
            "ratio": "times the larger floor",
            "peak_memory_mib": "peak memory (MiB)",
        }
        for panel, (column, title) in zip(panels, titles.items(), strict=True):
            _draw_panel(panel, rows, column)
            panel.set_title(title)
        _draw_floor(panels[0], rows)
        panels[2].legend(*panels[0].get_legend_handles_labels(), loc="upper left", bbox_to_anchor=(1.01, 1))
        batches = "/".join(str(b) for b in sorted(set(rows.batch)))
        figure.suptitle(
            f"{rows.device.iloc[0]}: a training step of {batches} images ({rows['data'].iloc[0]})", fontsize=10
        )
        figure.tight_layout()
    return figure


def _name(row: pd.Series) -> str:
    together = f", {row.at_once} at once" if row.at_once > 1 else ""
    recomputed = ", checkpointing" if row.gradient_checkpointing else ""
    return f"{row.engine}, {row.precision}{together}{recomputed}"


def _draw_panel(panel: Axes, rows: pd.DataFrame, column: str) -> None:
    names = list(dict.fromkeys(rows.line))
    for (name, variant), part in rows[rows[column] > 0].sort_values("depth").groupby(["line", "variant"], sort=False):
        style, colour = _STYLES.get(str(variant), ":"), _COLOURS[names.index(str(name)) % len(_COLOURS)]
        label = f"{name}, {variant}"
        panel.plot(part.depth, part[column], style, color=colour, marker=".", linewidth=1.5, label=label)
    depths = sorted(set(rows.depth))
    panel.set_xscale("log")
    panel.set_yscale("log")
    panel.set_xticks(depths, [str(d) for d in depths])
    panel.xaxis.set_minor_locator(NullLocator())
    panel.yaxis.set_major_formatter(StrMethodFormatter("{x:,g}"))
    # Over less than a decade the marks between the powers of ten are labelled too.
    is_narrow = rows[column].max() < 10 * rows[column].min()
    panel.yaxis.set_minor_formatter(StrMethodFormatter("{x:,g}") if is_narrow else NullFormatter())
    panel.set_xlabel("depth (layers)")


def _draw_floor(panel: Axes, rows: pd.DataFrame) -> None:
    for precision, part in rows[rows.engine != USUAL].groupby("precision"):
        lowest = part.groupby("depth").floor_ms.min()
        panel.plot(lowest.index, lowest.to_numpy(), ":", color="grey", linewidth=1.5, label=f"floor, {precision}")
