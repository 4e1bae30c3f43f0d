"""Figures drawn from a run's CSV files. Needs neither torch nor a display.

curves            as in He et al. 2015, figure 6: a panel per variant, training dashed, test solid, a colour per depth
depth             final training error against depth, for each variant and seed
rates             final training error against the learning rate, if the experiment varies it
depth_best_rate   the same as depth, for each variant and depth at its best rate
"""

import math
import textwrap
from collections.abc import Iterator, Sequence

import matplotlib
import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from resdepth.report.comparison import LEARNING_RATE, Comparison, comparisons, ended_runs, rate_sweeps, variants_in
from resdepth.report.style import PALETTE, STYLE
from resdepth.report.summary import at_best_rate

# Metric -> columns of the dashed and the solid line of `curves`, label of the y axis.
METRICS = {
    "error": ("train_error", "test_error", "error (%)"),
    "loss": ("train_loss", "test_loss", "cross-entropy (nats)"),
    "clean": ("train_error_clean", "test_error", "error (%), training set without augmentation"),
}
X_AXES = {"epoch": "epoch", "iteration": "iteration (minibatches)"}
_MARKERS = ("o", "s", "^", "D", "v", "P")  # one per colour of the palette


def draw(table: pd.DataFrame, metric: str = "error", x: str = "epoch") -> Iterator[tuple[str, str, Figure]]:
    """Yield (experiment, file name without extension, figure) of every comparison; `metric` and `x` are the curves'."""
    with matplotlib.rc_context(STYLE):
        for comparison in comparisons(table):
            suffix = f"_{comparison.label}" if comparison.label else ""
            kind = ("" if metric == "error" else f"_{metric}") + ("" if x == "epoch" else f"_by_{x}")
            yield comparison.experiment, f"curves{kind}{suffix}", draw_curves(comparison, metric, x)
            yield comparison.experiment, f"depth{suffix}", draw_depth(comparison)
        for comparison in rate_sweeps(table):
            suffix = f"_{comparison.label}" if comparison.label else ""
            yield comparison.experiment, f"rates{suffix}", draw_rates(comparison)
            best = draw_depth(at_best_rate(comparison), at="each at its best rate")
            yield comparison.experiment, f"depth_best_rate{suffix}", best


def draw_curves(comparison: Comparison, metric: str = "error", x: str = "epoch") -> Figure:
    """Plot a metric against `x` as in He et al. 2015, figure 6: means over seeds, with one standard deviation."""
    rows, variants = comparison.rows, variants_in(comparison.rows)
    size = (1.2 + 4.2 * len(variants), 4)
    figure, axes = plt.subplots(1, len(variants), figsize=size, sharex=True, sharey=True, squeeze=False)
    colours = depth_colours(rows)
    for panel, variant in zip(axes[0], variants, strict=True):
        for depth, runs in rows[rows.variant == variant].groupby("depth"):
            _draw_net(panel, runs, metric, x, colours[int(str(depth))], f"{variant}-{depth}")
        panel.set(title=variant, xlabel=X_AXES[x])
        panel.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    train, test, label = METRICS[metric]
    top = axes[0][0].get_ylim()[1]
    # The panels share their axes, so one call, after the last panel is drawn, sets the limits of all.
    axes[0][0].set(ylabel=label, xlim=(0, None), ylim=(0, min(top, 100) if metric != "loss" else top))
    entries: list[Line2D | Patch] = [
        Line2D([], [], color="black", linestyle="--", linewidth=1.1, label=train.replace("_", " ")),
        Line2D([], [], color="black", linewidth=1.8, label=test.replace("_", " ")),
    ]
    if rows.seed.nunique() > 1:
        entries.append(Patch(color="black", alpha=0.15, linewidth=0, label="± one standard deviation"))
    _add_legend(axes[0][-1], rows, colours, entries)
    return _titled(figure, comparison)


def _draw_net(panel: Axes, runs: pd.DataFrame, metric: str, x: str, colour: str, label: str) -> None:
    """Plot mean and deviation over the seeds of one net; a diverged seed is a separate line that ends in a cross."""
    train, test, _ = METRICS[metric]
    ended = ended_runs(runs)
    # The mean would jump at the last epoch of a seed that is still running.
    runs = runs[runs.run.isin(ended.run)]
    has_diverged = runs.state == "diverged"
    for column, style, width in ((train, "--", 1.1), (test, "-", 1.8)):
        values = runs[~has_diverged].dropna(subset=[column]).groupby(x)[column]
        mean, deviation = values.mean(), values.std(ddof=1).fillna(0)
        # A line through one or two points is hardly visible.
        marker = "." if len(mean) < 3 else ""
        name = f"{label} {column}"
        panel.plot(mean.index, mean.to_numpy(), marker + style, color=colour, linewidth=width, label=name)
        if runs.seed.nunique() > 1:
            panel.fill_between(mean.index, mean - deviation, mean + deviation, color=colour, alpha=0.15, linewidth=0)
        for seed, run in runs[has_diverged].dropna(subset=[column]).groupby("seed"):
            panel.plot(run[x], run[column], style, color=colour, linewidth=0.8, label=f"{name} seed {seed}")
    diverged = ended[ended.state == "diverged"]
    for at, value in zip(diverged[x], diverged[test], strict=True):
        # A loss that is not finite is marked at the panel's upper edge.
        y, where = (value, panel.transData) if math.isfinite(value) else (1.0, panel.get_xaxis_transform())
        panel.plot(at, y, "x", color=colour, markersize=8, label=f"{label} diverged", transform=where, clip_on=False)


def _add_legend(panel: Axes, rows: pd.DataFrame, colours: dict[int, str], more: Sequence[Line2D | Patch] = ()) -> None:
    """Add a legend to the right of the panel: the depths, `more`, and the cross of diverged runs, if any."""
    depths = (Line2D([], [], color=colour, linewidth=3, label=f"{depth} layers") for depth, colour in colours.items())
    handles = [*depths, *more]
    if "diverged" in set(rows.state):
        handles.append(Line2D([], [], color="black", linestyle="", marker="x", label="diverged"))
    panel.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.01, 1))


def draw_depth(comparison: Comparison, at: str = "") -> Figure:
    """Plot final training error against depth: variants' means as lines, seeds as dashes. The title ends in `at`."""
    finals = ended_runs(comparison.rows)
    figure, axes = plt.subplots(figsize=(5.6, 4))
    for i, variant in enumerate(variants_in(finals)):
        runs = finals[finals.variant == variant]
        colour, line = PALETTE[i % 6], f"-{_MARKERS[i % 6]}"
        mean = runs.groupby("depth").train_error.mean()
        axes.plot(mean.index, mean.to_numpy(), line, color=colour, linewidth=1.8, markersize=7, label=variant)
        axes.plot(runs.depth, runs.train_error, "_", color=colour, markersize=12, label="_seeds")
    depths = sorted(set(finals.depth))
    if depths[-1] > 20 * depths[0]:
        axes.set_xscale("log")
    axes.set_xticks(depths, [str(d) for d in depths])
    axes.minorticks_off()
    axes.set_xlabel("depth (layers)")
    _mark_diverged(axes, finals, "depth")
    _set_error_axis(axes, finals)
    axes.legend()
    return _titled(figure, comparison, at)


def draw_rates(comparison: Comparison) -> Figure:
    """Plot final training error against the learning rate: a panel per variant, a colour per depth, a dot per seed."""
    finals = ended_runs(comparison.rows)
    variants = variants_in(finals)
    figure, axes = plt.subplots(1, len(variants), figsize=(1.2 + 4.2 * len(variants), 4), sharey=True, squeeze=False)
    colours = depth_colours(finals)
    for panel, variant in zip(axes[0], variants, strict=True):
        for depth, runs in finals[finals.variant == variant].groupby("depth"):
            colour = colours[int(str(depth))]
            mean = runs.groupby(LEARNING_RATE).train_error.mean()
            panel.plot(mean.index, mean.to_numpy(), "-", color=colour, linewidth=1.8, label=f"{depth} layers")
            rates = runs[LEARNING_RATE]
            panel.plot(rates, runs.train_error, "o", color=colour, alpha=0.6, markersize=4, label="_seeds")
        panel.set_xscale("log")
        ticks = sorted(set(finals[LEARNING_RATE]))
        panel.set_xticks(ticks, [f"{t:g}" for t in ticks])
        panel.minorticks_off()
        panel.set(title=variant, xlabel="learning rate")
        _mark_diverged(panel, finals[finals.variant == variant], LEARNING_RATE)
    _set_error_axis(axes[0][0], finals)
    _add_legend(axes[0][-1], finals, colours)
    return _titled(figure, comparison)


def _mark_diverged(axes: Axes, finals: pd.DataFrame, x: str) -> None:
    diverged = finals[finals.state == "diverged"]
    if not diverged.empty:
        axes.plot(diverged[x], diverged.train_error, "x", color="black", markersize=8, label="diverged")


def _set_error_axis(axes: Axes, finals: pd.DataFrame) -> None:
    """Label the y axis; set it from just below zero to just above the highest error, so that no marker is cut off."""
    highest = max(finals.train_error.max(), 1)
    axes.set(ylabel="final training error (%)", ylim=(-0.03 * highest, 1.05 * highest))


def depth_colours(rows: pd.DataFrame) -> dict[int, str]:
    """Return a colour per depth from the deepest, dark to light: readable in grey and with colour blindness."""
    depths = sorted(set(rows.depth), reverse=True)
    scale = matplotlib.colormaps["viridis"]
    return {d: matplotlib.colors.to_hex(scale(0.82 * i / max(1, len(depths) - 1))) for i, d in enumerate(depths)}


def _titled(figure: Figure, comparison: Comparison, at: str = "") -> Figure:
    more = (f", {at}" if at else "") + (" (still running)" if "running" in set(comparison.rows.state) else "")
    # At 10 points a character is about 0.075 inches wide.
    figure.suptitle(textwrap.fill(comparison.title + more, int(figure.get_figwidth() / 0.075)), fontsize=10)
    figure.tight_layout()
    return figure
