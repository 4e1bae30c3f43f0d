"""Labels in a panel: the nets at the right ends of their lines, the gap between two of them, the chance level."""

import itertools
import math
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import matplotlib.patheffects as effects
import numpy as np
from matplotlib.axes import Axes

_LINE = 0.24  # inches: the height of a line of text at 14 points
# Right of a panel, as a fraction of its width: the gap's arrow, and the labels.
_ARROW_AT, _LABELS_AT = 0.07, 0.17  # inches from the panel's right edge
_WRAP = 12  # characters
_INK = "#222222"
_NO_GAP = "no gap"
HALO = [effects.withStroke(linewidth=3.5, foreground="white")]


@dataclass(frozen=True)
class End:
    """The right end of a net's line, in data coordinates. `name` is shown, `note` below it."""

    x: float
    y: float
    name: int | str
    colour: str
    note: str = ""


def label_ends(panel: Axes, ends: Iterable[End], size: tuple[float, float], right: float) -> None:
    """Label lines at their right ends, in a column right of the panel, apart from each other.

    Lines that end together share a label. `size` is the panel's width and height in inches; its y limits must be set,
    and not change afterwards. A line that ends before x = `right` is joined to its label by a dotted one.
    """
    low, high = panel.get_ylim()
    unit = (high - low) / size[1]
    inside = (replace(end, y=min(max(end.y, low), high) if math.isfinite(end.y) else high) for end in ends)
    shown = sorted(inside, key=lambda end: end.y)
    everyone = sorted({end.name for end in shown if isinstance(end.name, int)})
    tolerance = 0.02 * (high - low)
    while True:
        groups = _together(shown, tolerance)
        texts = [_text_of(group, everyone) for group in groups]
        heights = [_LINE * unit * (1 + text.count("\n")) for text in texts]
        if sum(heights) <= high - low + _LINE * unit or len(groups) < 2 or tolerance > high - low:
            break
        tolerance *= 1.5
    means = [sum(end.y for end in group) / len(group) for group in groups]
    # Half of the lowest label may stand out below, and above, where a panel's title is, half a line.
    below = heights[0] / 2 if heights else 0.0
    centres = spread(means, heights, low - below, high + _LINE * unit / 2)
    for group, text, wanted, y in zip(groups, texts, means, centres, strict=True):
        at = max(end.x for end in group)
        arrow: dict[str, Any] = {"arrowstyle": "-", "color": group[-1].colour, "linewidth": 1.2, "relpos": (0, 0.5)}
        if at < right:
            # Not to be taken for a line that goes on.
            arrow |= {"linewidth": 1.0, "linestyle": (0, (1, 2.5))}
        panel.annotate(
            text, (at, wanted), (1 + _LABELS_AT / size[0], y), textcoords=panel.get_yaxis_transform(),
            va="center", color=_INK, linespacing=1.0, annotation_clip=False,
            arrowprops=arrow | {"shrinkA": 1, "shrinkB": 2},
        )  # fmt: skip


def _together(ends: Sequence[End], tolerance: float) -> list[list[End]]:
    """Group sorted ends that lie within a tolerance; ends with different notes, or with a name of their own, stay."""
    groups: list[list[End]] = []
    for end in ends:
        first = groups[-1][0] if groups else None
        is_number = isinstance(end.name, int)
        if first and is_number and end.note == first.note and end.y - first.y <= tolerance:
            groups[-1].append(end)
        else:
            groups.append([end])
    return groups


def _text_of(group: Sequence[End], everyone: Sequence[int]) -> str:
    """Return "56 layers", "8, 20, 32 layers", or "8 to 110 layers" for more than three neighbours; then the note."""
    note = f"\n{group[0].note}" if group[0].note else ""
    if isinstance(group[0].name, str):
        return group[0].name + note
    depths = sorted(end.name for end in group if isinstance(end.name, int))
    at = everyone.index(depths[0])
    if len(depths) > 3 and list(everyone[at : at + len(depths)]) == depths:
        return f"{depths[0]} to {depths[-1]}\nlayers{note}"
    return textwrap.fill(f"{', '.join(map(str, depths))} layers", _WRAP, break_long_words=False) + note


def spread(wanted: Sequence[float], heights: Sequence[float], low: float, high: float) -> list[float]:
    """Return centres near the `wanted`, which rise, so that labels of these heights do not overlap.

    They lie between low and high where they fit. The sum of squared moves is the least (isotonic regression).
    """
    offsets = [
        below + height / 2 for below, height in zip(itertools.accumulate(heights, initial=0), heights, strict=False)
    ]
    blocks: list[tuple[float, int]] = []  # mean and number of labels that touch each other
    for value in (w - offset for w, offset in zip(wanted, offsets, strict=True)):
        blocks.append((value, 1))
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            (a, m), (b, n) = blocks[-2:]
            blocks[-2:] = [((a * m + b * n) / (m + n), m + n)]
    flat = [min(max(value, low), max(low, high - sum(heights))) for value, count in blocks for _ in range(count)]
    return [value + offset for value, offset in zip(flat, offsets, strict=True)]


def mark_gap(panel: Axes, shallowest: End, deepest: End, unit: str, size: tuple[float, float]) -> None:
    """Mark the gap between the ends of the shallowest and the deepest net: an arrow with its size beside it.

    A gap of less than one point (of 0.1 nats) is "no gap", in small type. Of a loss that is not finite there is none.
    Where there is no room for an arrow, the text says which net is better or worse.
    """
    gap = deepest.y - shallowest.y
    if not math.isfinite(gap):
        return
    low, high = panel.get_ylim()
    height = _LINE * (high - low) / size[1]
    if _is_small(gap, unit):
        _write(panel, _above(panel, max(shallowest.y, deepest.y), _NO_GAP, size), _NO_GAP, fontsize=12, color="0.35")
        return
    deep, shallow = (min(max(end.y, low), high) for end in (deepest, shallowest))
    at, where = 1 + _ARROW_AT / size[0], panel.get_yaxis_transform()
    has_arrow = abs(deep - shallow) > 0.5 * height
    text = _size_of(gap, unit) + ("\nbetter" if gap < 0 else "")
    if not has_arrow:
        text = f"{deepest.name} layers\n{_size_of(gap, unit)}\n{'better' if gap < 0 else 'worse'}"
    else:
        panel.annotate(
            "", (at, deep), (at, shallow), xycoords=where, textcoords=where, annotation_clip=False, zorder=5,
            arrowprops={"arrowstyle": "<->", "color": _INK, "linewidth": 1.8, "shrinkA": 0, "shrinkB": 0}
            | {"mutation_scale": 16 * min(1, abs(deep - shallow) / (1.5 * height))},
        )  # fmt: skip
    bold: dict[str, Any] = {"fontweight": "bold", "color": _INK}
    lower, upper = sorted((deep, shallow))
    if upper - lower > (0.5 + len(text.splitlines())) * height:
        y = _clear(panel, (lower + upper) / 2, (lower, upper), text, size)
    else:
        # Between the two there is no room.
        y = _clear(panel, _above(panel, upper, text, size), (low, high), text, size)
    _write(panel, y, text, **bold)


def _write(panel: Axes, y: float, text: str, **style: Any) -> None:
    """Write inside the panel, at its right edge."""
    where: dict[str, Any] = {
        "transform": panel.get_yaxis_transform(),
        "ha": "right",
        "va": "center",
        "linespacing": 1.0,
    }
    panel.text(0.97, y, text, path_effects=HALO, zorder=6, **where, **style)


def _clear(panel: Axes, wanted: float, limits: tuple[float, float], text: str, size: tuple[float, float]) -> float:
    """Return the height nearest to `wanted`, within limits, at which a text at the right edge covers nothing.

    Where lines are everywhere, one at which it covers these but no other text; else the wanted one.
    """
    low, high = panel.get_ylim()
    height = _LINE * (high - low) / size[1]
    half = (0.15 + text.count("\n") / 2 + 0.5) * height
    edge = _left_edge(panel, text, size)
    texts = [(t.get_position()[1], t.get_position()[1] + height) for t in panel.texts if t.get_text()]
    lines: list[tuple[float, float]] = []
    for line in panel.get_lines():
        x, y = np.asarray(line.get_xydata(), dtype=float).T
        if line.get_transform() != panel.transData:
            texts += [(y[0], y[0])] if line.get_label() == "_chance" else []
        elif len(x) > 1:
            x, y = x[np.isfinite(y)], y[np.isfinite(y)]
            inside = [np.interp(edge, x, y), *y[x >= edge]] if len(x) and x[-1] >= edge else []
            lines += [(min(pair), max(pair)) for pair in itertools.pairwise(inside)]
    bottom, top = limits[0] + half, limits[1] - half
    heights = np.linspace(bottom, top, 200) if top > bottom else np.array([])
    for taken in (texts + lines, texts):
        free = [float(y) for y in heights if all(b < y - half or a > y + half for a, b in taken)]
        if free:
            return min(free, key=lambda y: abs(y - wanted))
    return wanted


def _left_edge(panel: Axes, text: str, size: tuple[float, float]) -> float:
    """Return the x at which a text at the panel's right edge begins."""
    left, right = panel.get_xlim()
    return right - (right - left) * min(1.0, (0.13 * max(map(len, text.split("\n"))) + 0.1) / size[0])


def _above(panel: Axes, level: float, text: str, size: tuple[float, float]) -> float:
    """Return the height at which a text is clear of the lines below it that end at this level or lower."""
    low, high = panel.get_ylim()
    height = _LINE * (high - low) / size[1]
    lines, covered = text.split("\n"), _left_edge(panel, text, size)
    found = [level]
    for line in panel.get_lines():
        points = np.asarray(line.get_xydata(), dtype=float)
        if len(points) > 1 and line.get_transform() == panel.transData and points[-1, 1] <= level:
            found += [y for x, y in points if x >= covered and y < high]
    return min(max(found) + (0.3 + len(lines) / 2) * height, high - len(lines) * height / 2)


def change_text(gap: float, unit: str) -> str:
    """Return what the deepest net has more than the shallowest: "+89 points", "−2 points", or "no gap"."""
    return _NO_GAP if _is_small(gap, unit) else f"{'+' if gap > 0 else '−'}{_size_of(gap, unit)}"


def _is_small(gap: float, unit: str) -> bool:
    return abs(gap) < (1.0 if unit == "points" else 0.1)


def _size_of(gap: float, unit: str) -> str:
    number = f"{abs(gap):.0f}" if unit == "points" else f"{abs(gap):.1f}"
    return f"{number} {unit.removesuffix('s') if number == '1' else unit}"


def draw_chance(panel: Axes, chance: float | None, unit: str, size: tuple[float, float], *, is_named: bool) -> None:
    """Draw the chance level as a thin line; where it lies above the panel, its name alone says so."""
    if chance is None:
        return
    low, high = panel.get_ylim()
    name = f"chance ({chance:.3g} {unit})"
    style: dict[str, Any] = {"transform": panel.get_yaxis_transform(), "ha": "right", "fontsize": 12, "color": "0.25"}
    if chance <= high:
        panel.axhline(chance, color="0.35", linewidth=1.0, linestyle=(0, (1, 1.5)), zorder=1.5, label="_chance")
        y, va = chance + 0.03 * (high - low) / size[1], "bottom"
    else:
        name, y, va = f"{name} ↑", high, "top"
    if is_named:
        panel.text(0.99, y, name, va=va, path_effects=HALO, **style)
