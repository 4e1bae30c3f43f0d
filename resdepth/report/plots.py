"""The figures, from CSV files alone. No torch, no screen.

curves   the paper's figure 6: a panel per variant, training error dashed, test error solid, a colour per depth
depth    final training error against depth, every seed, both variants
rates    final training error against the learning rate, where an experiment swept it
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from resdepth.errors import ConfigError
from resdepth.report.comparison import (
    LEARNING_RATE,
    Comparison,
    comparisons,
    ended_runs,
    last_epochs,
    rate_sweeps,
    variants_in,
)
from resdepth.report.style import STYLE, save_figure
from resdepth.report.summary import at_best_rate
from resdepth.results.table import experiment_folder, read_results, require_rows

# What the dashed and the solid line of `curves` show, and the axis' label.
METRICS = {
    "error": ("train_error", "test_error", "error (%)"),
    "loss": ("train_loss", "test_loss", "cross-entropy (nats)"),
    "clean": ("train_error_clean", "test_error", "error (%), training set without augmentation"),
}
X_AXES = {"epoch": "epoch", "iteration": "iteration (minibatches)"}
FORMATS = ("png", "svg")
_MARKED_BELOW = 3  # points
# Okabe and Ito's colours, told apart by the colour-blind; plain and residual are the first two.
_VARIANT_COLOURS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_VARIANT_MARKERS = ("o", "s", "^", "D", "v", "P")
# A legend's entry for the marks of runs that diverged.
_DIVERGED = Line2D([], [], color="black", linestyle="", marker="x", label="diverged")


@dataclass(frozen=True)
class Drawn:
    """A figure and the name of its file, without its ending; `experiment` says whose it is."""

    experiment: str
    name: str
    figure: Figure


def plot(root: Path, out: Path | None, formats: tuple[str, ...], metric: str, x: str) -> tuple[list[Path], list[str]]:
    """Draw every experiment below `root`: the files written, and a line for each file of results not read.

    Files go to `figures/` inside each experiment's folder, or to `out`. Raises ConfigError where nothing is to draw.
    """
    table, problems = read_results(root)
    require_rows(table, root, problems, "plot")
    files: list[Path] = []
    try:
        for drawn in draw(table, metric, x):
            files += _save(drawn, out, experiment_folder(root, drawn.experiment), formats)
    except OSError as error:
        where = out or experiment_folder(root, drawn.experiment) / "figures"
        raise ConfigError("--out", where, f"cannot be written to ({error.strerror}); say --out FOLDER") from error
    if table[METRICS[metric][0]].isna().all():
        problems.append(f"{root}: no run measured {METRICS[metric][0]}; sweep with recipe.eval_clean=true")
    return files, problems


def _save(drawn: Drawn, out: Path | None, experiment: Path, formats: tuple[str, ...]) -> list[Path]:
    folder = out or experiment / "figures"
    folder.mkdir(parents=True, exist_ok=True)
    prefix = f"{drawn.experiment.replace('/', '-')}_" if out else ""
    return save_figure(drawn.figure, folder / f"{prefix}{drawn.name}", formats)


def draw(table: pd.DataFrame, metric: str = "error", x: str = "epoch") -> Iterator[Drawn]:
    """The figures of every experiment and setting in a table of `load_results`, one after the other."""
    with matplotlib.rc_context(STYLE):
        for comparison in comparisons(table):
            suffix = f"_{comparison.label}" if comparison.label else ""
            kind = ("" if metric == "error" else f"_{metric}") + ("" if x == "epoch" else f"_by_{x}")
            yield Drawn(comparison.experiment, f"curves{kind}{suffix}", draw_curves(comparison, metric, x))
            yield Drawn(comparison.experiment, f"depth{suffix}", draw_depth(comparison))
        for comparison in rate_sweeps(table):
            suffix = f"_{comparison.label}" if comparison.label else ""
            yield Drawn(comparison.experiment, f"rates{suffix}", draw_rates(comparison))
            best = draw_depth(at_best_rate(comparison), at="each at its best rate")
            yield Drawn(comparison.experiment, f"depth_best_rate{suffix}", best)


def draw_curves(comparison: Comparison, metric: str = "error", x: str = "epoch") -> Figure:
    """He et al. 2015, figure 6: error against epochs, a panel per variant, mean over seeds, one standard deviation."""
    rows, variants = comparison.rows, variants_in(comparison.rows)
    size = (1.2 + 4.2 * len(variants), 4)
    figure, axes = plt.subplots(1, len(variants), figsize=size, sharex=True, sharey=True, squeeze=False)
    colours = depth_colours(rows)
    for panel, variant in zip(axes[0], variants, strict=True):
        for depth, runs in rows[rows.variant == variant].groupby("depth"):
            _draw_net(panel, runs, metric, x, colours[int(str(depth))], f"{variant}-{depth}")
        panel.set_title(variant)
        panel.set_xlabel(X_AXES[x])
        panel.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    axes[0][0].set_ylabel(METRICS[metric][2])
    # The panels share their axes, so they are set once, after all of them are drawn.
    axes[0][0].set_xlim(left=0)
    top = axes[0][0].get_ylim()[1]
    axes[0][0].set_ylim(0, min(top, 100) if metric != "loss" else top)
    _legend(axes[0][-1], comparison, metric, colours)
    return _titled(figure, comparison)


def _draw_net(panel: Axes, runs: pd.DataFrame, metric: str, x: str, colour: str, label: str) -> None:
    """One net's lines: mean and deviation over its seeds; a diverged seed is a line of its own, up to its mark."""
    train, test, _ = METRICS[metric]
    # A seed that is still running would end the mean of the others with a jump.
    runs = runs[runs.run.isin(ended_runs(runs).run)]
    has_diverged = runs.state == "diverged"
    for column, style, width in ((train, "--", 1.1), (test, "-", 1.8)):
        values = runs[~has_diverged].dropna(subset=[column]).groupby(x)[column]
        mean, deviation = values.mean(), values.std(ddof=1).fillna(0)
        # A line through one point or two is seen by its marks.
        marker = "." if len(mean) < _MARKED_BELOW else ""
        name = f"{label} {column}"
        panel.plot(mean.index, mean.to_numpy(), marker + style, color=colour, linewidth=width, label=name)
        if runs.seed.nunique() > 1:
            panel.fill_between(mean.index, mean - deviation, mean + deviation, color=colour, alpha=0.15, linewidth=0)
        for seed, run in runs[has_diverged].dropna(subset=[column]).groupby("seed"):
            panel.plot(run[x], run[column], style, color=colour, linewidth=0.8, label=f"{name} seed {seed}")
    ended = last_epochs(runs[has_diverged])
    if not ended.empty:
        for at, value in zip(ended[x], ended[test], strict=True):
            # A loss that is no number is marked at the panel's upper edge.
            where = panel.transData if math.isfinite(value) else panel.get_xaxis_transform()
            y = value if math.isfinite(value) else 1.0
            mark = f"{label} diverged"
            panel.plot(at, y, "x", color=colour, markersize=8, label=mark, transform=where, clip_on=False)


def _legend(panel: Axes, comparison: Comparison, metric: str, colours: dict[int, str]) -> None:
    train, test, _ = METRICS[metric]
    handles = _depth_handles(colours)
    handles.append(Line2D([], [], color="black", linestyle="--", linewidth=1.1, label=train.replace("_", " ")))
    handles.append(Line2D([], [], color="black", linewidth=1.8, label=test.replace("_", " ")))
    if comparison.rows.seed.nunique() > 1:
        handles.append(Patch(color="black", alpha=0.15, linewidth=0, label="± one standard deviation"))
    if "diverged" in set(comparison.rows.state):
        handles.append(_DIVERGED)
    panel.legend(handles=handles, loc="upper left", bbox_to_anchor=(1.01, 1))


def _depth_handles(colours: dict[int, str]) -> list[Artist]:
    """A legend's entry for each depth, the deepest first."""
    return [Line2D([], [], color=colours[d], linewidth=3, label=f"{d} layers") for d in sorted(colours, reverse=True)]


def draw_depth(comparison: Comparison, at: str = "") -> Figure:
    """Final training error against depth: every seed a mark, the mean a line, a colour and a mark per variant."""
    finals = ended_runs(comparison.rows)
    figure, axes = plt.subplots(figsize=(5.6, 4))
    for i, variant in enumerate(variants_in(finals)):
        runs = finals[finals.variant == variant]
        colour, marker = _VARIANT_COLOURS[i % 6], _VARIANT_MARKERS[i % 6]
        mean = runs.groupby("depth").train_error.mean()
        axes.plot(
            mean.index, mean.to_numpy(), "-", color=colour, linewidth=1.8, marker=marker, markersize=7, label=variant
        )
        axes.plot(runs.depth, runs.train_error, "_", color=colour, markersize=12, label="_seeds")
    depths = sorted(set(finals.depth))
    if depths[-1] > 20 * depths[0]:
        axes.set_xscale("log")
    axes.set_xticks(depths, [str(d) for d in depths])
    axes.minorticks_off()
    axes.set_xlabel("depth (layers)")
    axes.set_ylabel("final training error (%)")
    diverged = finals[finals.state == "diverged"]
    if not diverged.empty:
        axes.plot(diverged.depth, diverged.train_error, "x", color="black", markersize=8, label="diverged")
    _from_zero(axes, finals.train_error.max())
    axes.legend()
    return _titled(figure, comparison, at)


def draw_rates(comparison: Comparison) -> Figure:
    """Final training error against the learning rate: a panel per variant, a colour per depth, every seed a mark."""
    finals = ended_runs(comparison.rows)
    variants = variants_in(finals)
    figure, axes = plt.subplots(1, len(variants), figsize=(1.2 + 4.2 * len(variants), 4), sharey=True, squeeze=False)
    colours = depth_colours(finals)
    for panel, variant in zip(axes[0], variants, strict=True):
        for depth, runs in finals[finals.variant == variant].groupby("depth"):
            colour = colours[int(str(depth))]
            mean = runs.groupby(LEARNING_RATE).train_error.mean()
            panel.plot(mean.index, mean.to_numpy(), "-", color=colour, linewidth=1.8, label=f"{depth} layers")
            panel.plot(
                runs[LEARNING_RATE], runs.train_error, "o", color=colour, alpha=0.6, markersize=4, label="_seeds"
            )
        panel.set_xscale("log")
        ticks = sorted(set(finals[LEARNING_RATE]))
        panel.set_xticks(ticks, [f"{t:g}" for t in ticks])
        panel.minorticks_off()
        panel.set_title(variant)
        panel.set_xlabel("learning rate")
        diverged = finals[(finals.variant == variant) & (finals.state == "diverged")]
        if not diverged.empty:
            panel.plot(
                diverged[LEARNING_RATE], diverged.train_error, "x", color="black", markersize=8, label="diverged"
            )
    _from_zero(axes[0][0], finals.train_error.max())
    axes[0][0].set_ylabel("final training error (%)")
    handles = _depth_handles(colours)
    if "diverged" in set(finals.state):
        handles.append(_DIVERGED)
    axes[0][-1].legend(handles=handles, loc="upper left", bbox_to_anchor=(1.01, 1))
    return _titled(figure, comparison)


def _from_zero(axes: Axes, highest: float) -> None:
    """From just below zero to just above the highest value, so that no mark is cut."""
    axes.set_ylim(-0.03 * max(highest, 1), 1.05 * max(highest, 1))


def depth_colours(rows: pd.DataFrame) -> dict[int, str]:
    """A colour per depth, from dark (deep) to light, in an order that survives grey print and colour blindness."""
    depths = sorted(set(rows.depth), reverse=True)
    scale = matplotlib.colormaps["viridis"]
    return {d: matplotlib.colors.to_hex(scale(0.82 * i / max(1, len(depths) - 1))) for i, d in enumerate(depths)}


def _titled(figure: Figure, comparison: Comparison, at: str = "") -> Figure:
    more = (f", {at}" if at else "") + (" (still running)" if "running" in set(comparison.rows.state) else "")
    # At 10 points a character is about 0.075 inches wide.
    figure.suptitle(comparison.wrapped_title(int(figure.get_figwidth() / 0.075), more), fontsize=10)
    figure.tight_layout()
    return figure
