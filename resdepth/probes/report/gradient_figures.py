"""The figures of the gradients' probe."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from resdepth.probes.report import table
from resdepth.probes.report.panels import (
    Panel,
    depth_handles,
    depth_styles,
    draw_line,
    finish,
    label_edges,
    make_panels,
    net_styles,
    set_depth_axis,
    set_log_axis,
    split,
)  # fmt: skip
from resdepth.report.comparison import count

# With more decades than this in one figure, curves would be flat lines.
_MOST_SHARED_DECADES = 14


def draw_gradients(csv: Path) -> Iterator[tuple[str, Figure]]:
    """Yield the profiles over the layers, the ratios over depth and, with several epochs, their change in training."""
    start = table.at_initialisation(table.load(csv, by_rate=False))
    start = start[start.groupby(["model", "setting", "net"], observed=True).weight_gradient.transform("max") > 0]
    for number, (model, part) in enumerate(start.groupby("model", sort=True)):
        suffix = f"_{model}" if number else ""
        yield f"gradients{suffix}", _draw_profiles(part, _GRADIENT)
        yield f"gradients_activations{suffix}", _draw_profiles(part, _ACTIVATION)
    if len(start):
        yield "gradients_ratio", _draw_ratios(start)
    rows = table.load(csv, by_rate=True)
    rows = rows[(rows.layer >= 1) & (rows.layer < rows.depth) & (rows.weight_gradient > 0)]
    # Of a net of which some seeds diverged, the others; an epoch must not be the mean over fewer seeds than the next.
    keys = ["model", "setting", "net", "depth"]
    rows = rows[~rows.diverged | rows.groupby(keys, observed=True).diverged.transform("all") & (rows.epoch == 0)]
    several = [key for key, part in split(rows, "model", "setting") if part.epoch.nunique() > 1]
    for model, setting in several:
        suffix = f"_{model}" if len({key[0] for key in several}) > 1 else ""
        suffix += f"_{setting.replace(' ', '_')}" if len({key[1] for key in several}) > 1 else ""
        yield f"gradients_training{suffix}", _draw_training(rows[(rows.model == model) & (rows.setting == setting)])


def _when(rows: pd.DataFrame) -> str:
    return table.describe_epoch(rows).lower()


@dataclass(frozen=True)
class _Profile:
    """What a figure shows over the layers: column, every how many layers, y axis, title, words on the deepest net."""

    column: str
    every: int
    label: str
    title: str
    describe: Callable[[pd.DataFrame, int], str]


def _draw_profiles(rows: pd.DataFrame, what: _Profile) -> Figure:
    """Plot a column of each layer against its place, a line per depth (Glorot & Bengio 2010, figures 6 and 7)."""
    layers = rows[(rows.layer >= 1) & (rows.layer < rows.depth) & (rows.layer % what.every == 1 % what.every)]
    layers = layers.assign(place=100 * (layers.layer - 1) / (layers.depth - 2).clip(lower=1))
    figure, panels = make_panels(layers, ["model", "setting"], ["net"], (3.5, 2.5))
    styles = depth_styles(layers)
    for panel in panels:
        for (depth,), part in split(panel.rows[panel.rows[what.column] > 0], "depth"):
            draw_line(panel, part, "place", what.column, table.geometric_mean, **styles[depth])
        deepest = panel.rows.depth.max()
        panel.axes.set_title(panel.name + what.describe(panel.rows, deepest))
        panel.axes.set_xticks([0, 100], ["first", "last"])
    _share_range(panels)
    label_edges(panels, "layer", {"": what.label})
    return finish(figure, what.title.format(_when(rows)), rows, depth_handles(styles))


def _describe_gradient(rows: pd.DataFrame, deepest: int) -> str:
    """Return a line such as "110 layers: × 567,000, explodes"; with the mean norm where that shows it."""
    sizes = table.gradient_sizes(rows)
    if deepest not in set(sizes.depth):
        return ""
    verdict, column = table.judge(sizes)
    number = table.format_number(table.geometric_mean(sizes[sizes.depth == deepest][column]))
    what = "×" if column == "ratio" else "mean"
    return f"\n{deepest} layers: {what} {number}, {verdict.split()[0]}"


def _describe_activation(rows: pd.DataFrame, deepest: int) -> str:
    """Return a line such as "110 layers: × 2.2e-11"."""
    every = table.activation_ratios(rows)
    ratios = every[every.depth == deepest].ratio
    return f"\n{deepest} layers: × {table.format_number(table.geometric_mean(ratios))}" if len(ratios) else ""


_GRADIENT = _Profile(
    "weight_gradient", 1, "gradient (norm)", "Gradient by layer, {} (× = first / last)", _describe_gradient
)
# Of the first layer and of every block: a block's first layer has another size where there are shortcuts.
_ACTIVATION = _Profile(
    "activation",
    2,
    "activations\n(root mean square)",
    "Activations after every block, {} (× = last / first)",
    _describe_activation,
)


def _share_range(panels: list[Panel]) -> None:
    """Give all panels the same y axis, unless the range of all would hide what a row of panels shows."""
    for panel in panels:
        panel.axes.set_yscale("log")
    limits = [panel.axes.get_ylim() for panel in panels]
    low, high = min(limit[0] for limit in limits), max(limit[1] for limit in limits)
    for panel in panels:
        if np.log10(high / low) <= _MOST_SHARED_DECADES:
            panel.axes.set_ylim(low, high)
        set_log_axis(panel.axes)


def _draw_ratios(rows: pd.DataFrame) -> Figure:
    """Plot the first layer's gradient over the last's, and the cosine of input gradients, against depth.

    The cosine is of an image and one a tenth of the way to another: where it is 0, gradients are shattered (Balduzzi
    et al. 2017).
    """
    ratios = table.gradient_sizes(rows)
    image = rows[(rows.layer == 0) & rows.neighbour_correlation.notna()]
    measures = {"ratio": (ratios[ratios.ratio > 0], "ratio", "first / last layer's gradient")}
    if len(image):
        measures["cosine"] = (image, "neighbour_correlation", "cosine of the input gradients\nof neighbouring images")
    tables = pd.concat([part.assign(measure=measure) for measure, (part, *_) in measures.items()])
    tables["measure"] = pd.Categorical(tables.measure, list(measures), ordered=True)
    figure, panels = make_panels(tables, ["model"], ["measure"], (3.2, 3.3), share=False)
    styles, dashes = net_styles(rows), {"with batch norm": "-", "without batch norm": "--"}
    for panel in panels:
        measure = panel.rows.measure.iloc[0]
        _, column, label = measures[measure]
        for (net, setting), part in split(panel.rows, "net", "setting"):
            mean = table.geometric_mean if measure == "ratio" else "mean"
            style = styles[net] | {"linestyle": dashes[setting], "label": f"{net}, {setting}"}
            style |= {"markerfacecolor": "white"} if setting == "without batch norm" else {}
            draw_line(panel, part, "depth", column, mean, **style)
        title = panel.rows.model.iloc[0] if rows.model.nunique() > 1 else ""
        panel.axes.set(xlabel="depth (layers)", ylabel=label, title=title)
        set_depth_axis(panel.axes, sorted(set(rows.depth)))
        if measure == "ratio":
            set_log_axis(panel.axes)
        panel.axes.axhline(1 if measure == "ratio" else 0, color="black", linewidth=1)
    lines = {
        str(line.get_label()): line for panel in panels for line in panel.axes.lines if line.get_marker() != "None"
    }
    return finish(figure, f"Gradients against depth, {_when(rows)}", rows, list(lines.values()))


def _draw_training(rows: pd.DataFrame) -> Figure:
    """Plot the gradient's norm as colour against layer and epoch: the geometric mean over seeds."""
    depths = sorted(set(rows.depth))
    rows = rows[rows.depth.isin([depths[round(i)] for i in np.linspace(0, len(depths) - 1, 3)])]
    figure, panels = make_panels(rows, ["depth"], ["net"], (3.2, 2.1))
    means = [panel.rows.pivot_table("weight_gradient", "layer", "epoch", table.geometric_mean) for panel in panels]
    norm = LogNorm(min(mean.min().min() for mean in means), max(mean.max().max() for mean in means))
    for panel, mean in zip(panels, means, strict=True):
        x = np.arange(mean.shape[1] + 1) - 0.5
        y = np.append(mean.index, 2 * mean.index[-1] - mean.index[max(-2, -len(mean))]) if len(mean) > 1 else [1, 2]
        image = panel.axes.pcolormesh(x, y, mean.to_numpy(), norm=norm, cmap="viridis", rasterized=True)
        ticks = sorted({round(i) for i in np.linspace(0, mean.shape[1] - 1, min(6, mean.shape[1]))})
        panel.axes.set_xticks(ticks, [f"{mean.columns[i]:g}" for i in ticks])
        panel.axes.set_title(panel.name + _describe_lost(panel.rows, rows.seed.nunique()))
        panel.axes.grid(visible=False)
    label_edges(panels, "epoch", {"": "layer"}, inner_ticks=True)
    bar = figure.colorbar(image, ax=[panel.axes for panel in panels], aspect=40)
    bar.set_label("gradient of the layer's weights (norm)")
    return finish(figure, "Gradient by layer during training", rows)


def _describe_lost(rows: pd.DataFrame, every: int) -> str:
    """Return ", diverged", or ", 2 seeds" where the others of `every` diverged or have gradients of zero."""
    if rows.diverged.all():
        return ", diverged"
    seeds = rows[rows.epoch == rows.epoch.max()].seed.nunique()
    return "" if seeds == every else f", {count(seeds, 'seed')}"
