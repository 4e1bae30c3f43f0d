"""The figures of every probe, drawn from its CSV file. Needs neither torch nor a display.

Lines are means over the seeds and bands their range. Depths differ in colour and marker, nets in colour and marker.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import matplotlib
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from resdepth.probes.report.gradient_figures import draw_gradients
from resdepth.probes.report.panels import (
    LARGE,
    MARKERS,
    depth_handles,
    depth_styles,
    draw_line,
    finish,
    label_edges,
    make_panels,
    net_styles,
    set_depth_axis,
    set_zero_axis,
    split,
)
from resdepth.probes.report.table import (
    BLOCKS,
    THIRDS,
    after_training,
    best_rates,
    decay_means,
    describe_decay,
    describe_epoch,
    geometric_mean,
    load,
    require_rows_of,
)
from resdepth.report.style import PALETTE

_CROSS: dict[str, Any] = {"marker": "x", "markersize": 12, "markeredgewidth": 3, "linestyle": "none"}
_DASHES = ("-", "--", ":", "-.")


def draw(name: str, csv: Path) -> Iterator[tuple[str, Figure]]:
    """Yield (file name without extension, figure) of the probe `name`, the main figure first. Raises RecordError."""
    require_rows_of(name, csv)
    with matplotlib.rc_context(LARGE):
        yield from _FIGURES[name](csv)


def stems(name: str, csv: Path) -> set[str]:
    """Return the names, without extension, of all figures that rows of these models and settings may give."""
    rows = load(csv, by_rate=False)
    settings = [setting.replace(" ", "_") for setting in rows.setting.cat.categories]
    suffixes = ["", *(f"_{model}" for model in set(rows.model)), *(f"_{setting}" for setting in settings)]
    suffixes += [f"_{model}_{setting}" for model in set(rows.model) for setting in settings]
    parts = ("", "_activations", "_ratio", "_training") if name == "gradients" else ("",)
    return {f"{name}{part}{suffix}" for part in parts for suffix in suffixes}


def _draw_identity(csv: Path) -> Iterator[tuple[str, Figure]]:
    """Plot the change of the logits and the training error against the place of the inserted blocks."""
    rows = after_training(load(csv, by_rate=True)).dropna(subset=["logit_change"])
    if rows.empty:
        return
    places = rows.groupby(["model", "setting", "net", "depth"], observed=True).place.transform("max")
    change = rows.logit_change / rows.logit_scale.where(rows.logit_scale > 0)
    rows = rows.assign(change=change, percent=100 * rows.place / places.clip(lower=1))
    figure, panels = make_panels(rows, ["model", "setting"], ["net", "kind"], (2.7, 2.2), ("change", "error"))
    styles, blocks = depth_styles(rows), sorted(set(rows.blocks), reverse=True)
    changes = [panel.axes for panel in panels if panel.measure == "change"]
    for panel in panels:
        for (depth, number), part in split(panel.rows, "depth", "blocks"):
            style = styles[depth] | {"linestyle": _DASHES[blocks.index(number) % 4]}
            label = f"{depth} layers, {number} blocks"
            draw_line(panel, part, "percent", panel.measure, "mean", **style, label=label)
        panel.axes.set_xticks([0, 100], ["input", "output"])
        first, last = panel.axes.get_xticklabels()
        first.set_horizontalalignment("left")
        last.set_horizontalalignment("right")
        if panel.measure == "error":
            panel.axes.set_ylim(-4, 104)
        else:
            kind = panel.rows.kind.iloc[0]
            panel.axes.set_title(panel.name.replace(f", {kind}", f":\n{BLOCKS.get(kind, kind)}"))
    set_zero_axis(changes, rows.change)
    labels = {"change": "change of a logit\n/ largest logit", "error": "training error\nafterwards (%)"}
    label_edges(panels, "place", labels)
    handles = depth_handles(styles)
    if len(blocks) > 1:
        handles += [_line(_DASHES[i % 4], f"{n} inserted") for i, n in enumerate(blocks)]
    yield "identity", finish(figure, "Blocks inserted into trained nets, at every place", rows, handles)


def _line(style: Any, label: str, *, is_hollow: bool = False) -> Line2D:
    marker: dict[str, Any] = {"marker": "o", "markerfacecolor": "white"} if is_hollow else {}
    return Line2D([], [], color="black", linestyle=style, label=label, **marker)


def _draw_learn_identity(csv: Path) -> Iterator[tuple[str, Figure]]:
    """Plot the error against the number of layers, a line per net, each at its best rate."""
    every = load(csv, by_rate=False)
    rows = best_rates(every)
    if rows.empty:
        return
    has_diverged = False
    figure, panels = make_panels(rows, ["model"], ["setting"], (3.6, 3.6))
    styles = net_styles(rows)
    for panel in panels:
        for (net,), part in split(panel.rows, "net"):
            draw_line(panel, part, "layers", "error", geometric_mean, **styles[net], label=net)
            tried = every[
                (every.net == net) & every.model.isin(panel.rows.model) & every.setting.isin(panel.rows.setting)
            ]
            lost = sorted(set(tried.layers) - set(part.layers))
            if lost:
                has_diverged = True
                top = panel.axes.get_xaxis_transform()
                (line,) = panel.axes.plot(lost, [1.0] * len(lost), transform=top, color=styles[net]["color"], **_CROSS)
                line.set(clip_on=False, in_layout=False)
        panel.axes.axhline(100, color="black", linewidth=1)
        panel.axes.annotate("output zero", (0.02, 100), xycoords=panel.axes.get_yaxis_transform(), va="top")
        panel.axes.set_title(panel.name, pad=12)
        set_depth_axis(panel.axes, sorted(set(every.layers)))
    set_zero_axis([panel.axes for panel in panels], pd.concat([rows.error, pd.Series([100.0])]))
    label_edges(panels, "layers of the stack", {"": "error (% of the squared input)"})
    handles = [Line2D([], [], **style, label=net) for net, style in styles.items()]
    handles += [Line2D([], [], color="black", label="diverges at every rate tried", **_CROSS)] if has_diverged else []
    yield "learn-identity", finish(figure, "Stacks trained to return their input, at the best rate", rows, handles)


def _draw_grow(csv: Path) -> Iterator[tuple[str, Figure]]:
    """Plot the training error of the extended nets (solid) and of the nets as they were (dashed) against epochs."""
    rows = load(csv, by_rate=True).dropna(subset=["train_error"])
    if rows.empty:
        return
    figure, panels = make_panels(rows, ["model", "setting"], ["net"], (3.2, 3.3))
    styles = depth_styles(rows)
    added, highest = sorted(set(rows.added) - {0}), max(1, rows.train_error.max())
    dashes = {0: "--"} | {number: ("-", ":", "-.")[i % 3] for i, number in enumerate(added)}
    has_diverged = False
    for panel in panels:
        for (depth, number), part in split(panel.rows, "depth", "added"):
            style = styles[depth] | {"linestyle": dashes[number], "label": f"{depth} layers, {number} added"}
            style |= {} if number else {"markerfacecolor": "white"}
            draw_line(panel, part, "further_epoch", "train_error", "mean", **style)
            ends = part.sort_values("further_epoch").groupby("seed").tail(1)
            ends = ends[ends.further_epoch < rows.further_epoch.max()]
            if len(ends):
                panel.axes.plot(ends.further_epoch, ends.train_error, color=style["color"], **_CROSS)
                has_diverged = True
        panel.axes.set_title(panel.name)
        panel.axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
        panel.axes.set_ylim(-0.04 * highest, 1.08 * highest)
    label_edges(panels, "further epochs\n(at 0: evaluation mode)", {"": "training error (%)"})
    names = {0: "as it was"} | {number: f"{number} layers added" for number in added}
    handles = [
        *depth_handles(styles),
        *(_line(dashes[n], names[n], is_hollow=not n) for n in dashes if n in set(rows.added)),
    ]
    handles += [Line2D([], [], color="black", label="a seed diverged", **_CROSS)] if has_diverged else []
    yield (
        "grow",
        finish(figure, f"Training goes on {describe_epoch(rows).lower()}, with layers added or not", rows, handles),
    )


def _draw_decay(csv: Path) -> Iterator[tuple[str, Figure]]:
    """Plot the branch against the shortcut, what makes its size, and the error against weight decay."""
    rows = load(csv, by_rate=True)
    dataset = "/".join(sorted(set(rows.dataset)))
    rows = decay_means(rows).dropna(subset=["branch_ratio"])
    if rows.empty:
        return
    decays = sorted(set(rows.weight_decay))
    # Zero is among the values, so their order is the axis.
    rows = rows.assign(position=rows.weight_decay.map(decays.index), dataset=dataset)
    labels = {
        "branch_ratio": "|F(x)| / |x|",
        "weight_share": "|W| / |W| at\nleast decay",
        "bias_norm": "norm of biases\nor BN shifts",
        "bn_scale": "BN scale\n(root mean sq.)",
        "error": "training\nerror (%)",
    }
    figure, panels = make_panels(rows, ["model", "depth"], ["net", "setting"], (3.2, 2.0), tuple(labels))
    choices = [choice for choice, _ in split(rows, "decay_bias", "decay_bn")][::-1]
    styles: dict[str, dict[str, Any]] = {
        third: {"color": PALETTE[i], "marker": MARKERS[i]} for i, third in enumerate(THIRDS)
    }
    for panel in panels:
        mean = geometric_mean if panel.measure in ("branch_ratio", "weight_share") else "mean"
        for (third, *choice), part in split(panel.rows, "third", "decay_bias", "decay_bn"):
            at = choices.index(tuple(choice))
            style = styles[third] | {"linestyle": _DASHES[at % 4], "label": f"{third}, {describe_decay(*choice)}"}
            style |= {"markerfacecolor": "white"} if at else {}
            # The error is the net's.
            if panel.measure != "error" or third == THIRDS[0]:
                style |= {"color": "black"} if panel.measure == "error" else {}
                draw_line(panel, part, "position", panel.measure, mean, **style)
        panel.axes.set_title(panel.name)
        panel.axes.set_xticks(range(len(decays)), [f"{decay:g}" for decay in decays])
        if panel.measure == "error":
            panel.axes.set_ylim(-4, 104)
        elif panel.rows[panel.measure].isna().all():
            panel.axes.set_axis_off()
            panel.axes.annotate("no batch norm", (0.5, 0.5), xycoords="axes fraction", ha="center", va="center")
    set_zero_axis([panel.axes for panel in panels if panel.measure == "branch_ratio"], rows.branch_ratio)
    for panel in panels:
        if panel.measure in ("weight_share", "bias_norm", "bn_scale"):
            panel.axes.set_ylim(0, 1.08 * max(1.0, rows[panel.measure].max()))
    label_edges(panels, "weight decay", labels)
    handles = [Line2D([], [], **style, label=f"{third} of the blocks") for third, style in styles.items()]
    if len(choices) > 1:
        handles += [_line(_DASHES[i % 4], describe_decay(*choice), is_hollow=i > 0) for i, choice in enumerate(choices)]
    yield "decay", finish(figure, "Residual branches F after training with weight decay", rows, handles)


_FIGURES: dict[str, Callable[[Path], Iterator[tuple[str, Figure]]]] = {
    "gradients": draw_gradients,
    "identity": _draw_identity,
    "learn-identity": _draw_learn_identity,
    "grow": _draw_grow,
    "decay": _draw_decay,
}
