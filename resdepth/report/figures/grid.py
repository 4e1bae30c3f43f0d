"""Panels: one per variant, and with several settings a grid of small multiples, their axes shared."""

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from resdepth.report.comparison import Comparison, format_length, format_value, variants_in

# Of more panels in one figure, none is legible.
MOST_PANELS = 30
# Inches: left of the panels, for the axis' name and numbers; right of each, for labels; between two of them.
_LEFT, _RIGHT, _BETWEEN = 0.85, 1.4, 0.15
# Inches: below the panels, for the axis; for a line of the legend; above a row of them, and above the columns.
_BOTTOM, _LEGEND, _ROW_TITLE, _COLUMN_TITLE = 0.65, 0.36, 0.42, 0.4


@dataclass(frozen=True)
class Settings:
    """Comparisons of one experiment that are drawn in one figure, and the values that all of them share."""

    comparisons: tuple[Comparison, ...]
    shared: dict[str, Any]

    @cached_property
    def whole(self) -> Comparison:
        """All of their runs: what the figure's title and its file's name are about."""
        rows = [comparison.rows for comparison in self.comparisons]
        joined = rows[0] if len(rows) == 1 else pd.concat(rows).drop_duplicates(["run", "epoch"])
        return Comparison(self.comparisons[0].experiment, self.shared, joined)

    @property
    def suffix(self) -> str:
        """Of a file's name: empty unless the experiment's settings are divided among several figures."""
        return f"_{label}" if (label := self.whole.label) else ""

    def name_of(self, comparison: Comparison) -> str:
        """What tells a setting from the others, in words: "rate 0.05, 20 epochs"."""
        own = {key: value for key, value in comparison.keys.items() if key not in self.shared}
        first = comparison.rows.iloc[0]
        return ", ".join(dict.fromkeys(_in_words(key, value, first) for key, value in own.items()))


def _in_words(key: str, value: Any, row: "pd.Series[Any]") -> str:
    name = key.rpartition(".")[2].replace("_", " ")
    if isinstance(value, bool):
        return name if value else f"no {name}"
    if key in ("recipe.epochs", "recipe.iterations"):
        return format_length(row)
    return f"{'rate' if key == 'recipe.lr' else name} {format_value(value)}"


def divide(comparisons: Sequence[Comparison], panels: int) -> list[Settings]:
    """Divide an experiment's settings among figures of at most `MOST_PANELS`, with so many `panels` per setting.

    Each figure has one value of a key; the keys with the fewest values are taken first.
    """
    keys = sorted(comparisons[0].keys, key=lambda k: len({str(c.keys[k]) for c in comparisons}))
    for count in range(len(keys) + 1):
        found: dict[str, list[Comparison]] = {}
        for comparison in comparisons:
            found.setdefault(str([comparison.keys[key] for key in keys[:count]]), []).append(comparison)
        if max(map(len, found.values())) * panels <= MOST_PANELS:
            break
    taken = keys[:count]
    return [Settings(tuple(part), {k: v for k, v in part[0].keys.items() if k in taken}) for part in found.values()]


@dataclass(frozen=True)
class Cell:
    """A panel with what it shows: its setting's rows, those of one variant or of all, and its size in inches."""

    panel: Axes
    rows: pd.DataFrame
    variant: str
    size: tuple[float, float]
    is_first: bool  # of its row
    is_last: bool  # of its column


def make_grid(
    settings: Settings, title: str, details: str, *, by_variant: bool, legend: Sequence[Line2D | Patch] = (),
    share_x: bool = True,
) -> tuple[Figure, list[Cell]]:  # fmt: skip
    """Return a figure with a panel for each setting and variant, or for each setting, and the panels.

    With `by_variant`, a row is a setting and a column a variant; without, the settings fill two columns.
    """
    many, variants = len(settings.comparisons) > 1, variants_in(settings.whole.rows)
    count = len(settings.comparisons)
    columns = len(variants) if by_variant else min(2, count)
    lines = count if by_variant else -(-count // columns)
    size = (2.25 if columns > 1 else 4.6, 1.75 if many else 3.4)
    width = _LEFT + columns * (size[0] + _RIGHT) + (columns - 1) * _BETWEEN
    heading = _Heading(title, details, width)
    above = _ROW_TITLE if many else 0.0
    titles = _COLUMN_TITLE if by_variant else 0.15
    bottom = _BOTTOM + (_LEGEND * _legend_rows(legend, width) if legend else 0)
    # Rows with axes of their own need room for the numbers below each.
    between = above + (0.25 if share_x else 0.45)
    height = bottom + lines * size[1] + (lines - 1) * between + titles + above + heading.height
    figure, grid = plt.subplots(
        lines, columns, figsize=(width, height), squeeze=False, sharey=True, sharex=True if share_x else "row",
        gridspec_kw={
            "left": _LEFT / width, "right": 1 - _RIGHT / width, "bottom": bottom / height,
            "top": (bottom + lines * size[1] + (lines - 1) * between) / height,
            "wspace": (_RIGHT + _BETWEEN) / size[0], "hspace": between / size[1],
        },
    )  # fmt: skip
    heading.write(figure)
    if legend:
        figure.legend(
            handles=legend, loc="lower center", ncols=_legend_columns(legend, width), borderaxespad=0.3,
            columnspacing=1.2, handlelength=2.2,
        )  # fmt: skip
    return figure, list(_cells(settings, grid, variants if by_variant else [""], size))


def _cells(settings: Settings, grid: Any, variants: list[str], size: tuple[float, float]) -> Iterator[Cell]:
    """Yield a cell for every panel with rows; empty the others, and name rows, columns and settings."""
    across, many = grid.shape[1], len(settings.comparisons) > 1
    shown = [
        (comparison, variant, comparison.rows[comparison.rows.variant == variant] if variant else comparison.rows)
        for comparison in settings.comparisons
        for variant in variants
    ]
    filled = [i for i, (_, _, rows) in enumerate(shown) if len(rows)]
    for i, panel in enumerate(grid.flat):
        if i >= len(shown):
            panel.remove()
            continue
        comparison, variant, rows = shown[i]
        if variant and i < across:
            panel.set_title(variant, fontweight="bold", pad=6 + (72 * _ROW_TITLE if many else 0))
        if many and (not variant or i % across == 0):
            name = settings.name_of(comparison)
            panel.annotate(name, (0, 1), (0, 7), xycoords="axes fraction", textcoords="offset points", fontsize=13)
        if i not in filled:
            panel.set_axis_off()
            continue
        is_first = i == min(j for j in filled if j // across == i // across)
        is_last = i == max(j for j in filled if j % across == i % across)
        panel.tick_params(labelleft=is_first, **({"labelbottom": True} if is_last else {}))
        yield Cell(panel, rows, variant, size, is_first, is_last)


def label_y(figure: Figure, cells: Sequence[Cell], text: str) -> None:
    """Name the y axis that all panels share: beside the first panel, or once for several rows of them."""
    firsts = [cell for cell in cells if cell.is_first]
    firsts[0].panel.yaxis.set_major_locator(MaxNLocator(nbins=6 if len(firsts) == 1 else 3, steps=[1, 2, 5, 10]))
    if len(firsts) > 1:
        figure.supylabel(text, x=0.12 / figure.get_figwidth(), ha="left", va="center", fontsize=14)
    else:
        firsts[0].panel.set_ylabel(text)


class _Heading:
    """A figure's title, and below it the details in small type, wrapped to its width (inches)."""

    def __init__(self, title: str, details: str, width: float) -> None:
        # A character is about 0.6 times as wide as high; a title that is a little too long is set smaller.
        fitting = 72 * (width - 0.3) / (0.62 * len(title))
        self._sizes = {"title": 13.0 if fitting < 13 else min(fitting, 16), "details": 10.5}
        self._lines = {
            part: textwrap.fill(text, int(72 * (width - 0.3) / (0.62 * self._sizes[part])))
            for part, text in (("title", title), ("details", details))
        }
        self._heights = {p: (text.count("\n") + 1) * self._sizes[p] * 1.25 / 72 for p, text in self._lines.items()}
        self.height = sum(self._heights.values()) + 0.2

    def write(self, figure: Figure) -> None:
        height = figure.get_figheight()
        top = height - 0.12
        sizes = self._sizes
        figure.suptitle(self._lines["title"], fontsize=sizes["title"], y=top / height, va="top", fontweight="bold")
        y = (top - self._heights["title"]) / height
        figure.text(0.5, y, self._lines["details"], fontsize=sizes["details"], ha="center", va="top", color="0.3")


def _legend_columns(legend: Sequence[Line2D | Patch], width: float) -> int:
    """All, if they fit beside each other; else as many as do in columns of the longest one's width."""
    widths = [0.75 + 0.1 * len(str(handle.get_label())) for handle in legend]
    return len(legend) if sum(widths) <= width else max(1, int(width / max(widths)))


def _legend_rows(legend: Sequence[Line2D | Patch], width: float) -> int:
    return -(-len(legend) // _legend_columns(legend, width))
