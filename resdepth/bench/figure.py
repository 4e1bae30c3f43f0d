"""The figure of a benchmark, drawn from bench.csv."""

from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, NullLocator, StrMethodFormatter

from resdepth.bench.rows import BASELINE
from resdepth.report.style import PALETTE, STYLE

_COLOURS = (PALETTE[1], PALETTE[0], *PALETTE[2:], "#000000")
_STYLES = {"plain": "--", "residual": "-"}


def draw(csv: Path) -> Figure:
    """Plot step time (ms), its ratio to the larger floor, and peak memory (MiB) against depth, a line per engine."""
    rows = pd.read_csv(csv, dtype={"options": object}).dropna(subset="step_ms")
    # Files of earlier versions lack the column.
    rows["options"] = rows["options"].fillna("") if "options" in rows else ""
    rows["floor_ms"] = rows[["bytes_floor_ms", "operations_floor_ms"]].max(axis=1)
    rows["ratio"] = rows.step_ms / rows.floor_ms
    rows["line"] = [_line_name(row) for _, row in rows.iterrows()]
    with matplotlib.rc_context(STYLE):
        figure, panels = plt.subplots(1, 3, figsize=(13.5, 4.2))
        _draw_panel(panels[0], rows, "step_ms", "milliseconds a step and run")
        _draw_panel(panels[1], rows, "ratio", "times the larger floor")
        _draw_panel(panels[2], rows, "peak_memory_mib", "peak memory (MiB)")
        for precision, part in rows[rows.engine != BASELINE].groupby("precision"):
            floor, label = part.groupby("depth").floor_ms.min(), f"floor, {precision}"
            panels[0].plot(floor.index, floor.to_numpy(), ":", color="grey", linewidth=1.5, label=label)
        panels[2].legend(*panels[0].get_legend_handles_labels(), loc="upper left", bbox_to_anchor=(1.01, 1))
        batches, first = "/".join(str(b) for b in sorted(set(rows.batch))), rows.iloc[0]
        figure.suptitle(f"{first.device}: a training step of {batches} images ({first['data']})", fontsize=10)
        figure.tight_layout()
    return figure


def _line_name(row: pd.Series) -> str:
    together = f", {row.at_once} at once" if row.at_once > 1 else ""
    recomputed = ", checkpointing" if row.gradient_checkpointing else ""
    options = f", {row.options}" if row.options else ""
    return f"{row.engine}, {row.precision}{together}{recomputed}{options}"


def _draw_panel(panel: Axes, rows: pd.DataFrame, column: str, title: str) -> None:
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
    # Less than a decade holds too few powers of ten, so the minor ticks are labelled too.
    is_narrow = rows[column].max() < 10 * rows[column].min()
    panel.yaxis.set_minor_formatter(StrMethodFormatter("{x:,g}") if is_narrow else NullFormatter())
    panel.set_xlabel("depth (layers)")
    panel.set_title(title)
