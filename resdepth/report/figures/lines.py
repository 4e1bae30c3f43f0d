"""How nets are told apart: a colour, width, dash and marker for each depth and each variant."""

from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.lines import Line2D

from resdepth.report.style import PALETTE, STYLE

# At 400 pixels for a figure of 8 inches, on a phone, 14 points are 10 pixels.
LARGE: dict[Any, Any] = STYLE | {
    "font.size": 14,
    "axes.titlesize": 16,
    "axes.labelsize": 14,
    "xtick.labelsize": 13,
    "ytick.labelsize": 13,
    "legend.fontsize": 13,
}
# Greys of the deepest and the shallowest net, of 255: dark enough for a thin line on white paper.
_DARKEST, _LIGHTEST = 31, 175
_DASHES = ("solid", (0, (6, 1.2)), (0, (2.2, 1)), (0, (6, 1.2, 1.2, 1.2)), (0, (1, 0.8)), (0, (8, 1.2, 1, 1.2, 1, 1.2)))
_MARKERS = ("o", "s", "^", "D", "v", "P")


@dataclass(frozen=True)
class LineStyle:
    """How a net's line is drawn: `width` in points, `dash` as matplotlib's linestyle, `marker` for few points."""

    colour: str
    width: float
    dash: Any
    marker: str

    @property
    def line(self) -> dict[str, Any]:
        """Matplotlib's keywords for a line of means, which its panel's edge does not cut."""
        look = {"color": self.colour, "linewidth": self.width, "linestyle": self.dash}
        return {**look, "clip_on": False, "zorder": 3}


def depth_styles(rows: pd.DataFrame) -> dict[int, LineStyle]:
    """Return a style per depth from the deepest, dark and thick, to the shallowest, light and thin.

    The colours are viridis', readable with colour blindness, at even steps of grey, readable in grey print.
    """
    depths = sorted(set(rows.depth), reverse=True)
    scale = matplotlib.colormaps["viridis"](np.linspace(0, 1, 512))[:, :3]
    wanted = np.linspace(_DARKEST, _LIGHTEST, len(depths)) if len(depths) > 1 else [_DARKEST]
    return {
        int(depth): LineStyle(
            matplotlib.colors.to_hex(scale[np.abs(grey_of(scale) - grey).argmin()]),
            3.2 - 1.4 * i / max(1, len(depths) - 1),
            _DASHES[i % len(_DASHES)],
            _MARKERS[i % len(_MARKERS)],
        )
        for i, (depth, grey) in enumerate(zip(depths, wanted, strict=True))
    }


def grey_of(rgb: Any) -> Any:
    """Return the grey, 0 to 255, to which a print without colour turns colours of 0 to 1 (..., 3): ITU-R BT.601."""
    return 255 * np.asarray(rgb) @ (0.299, 0.587, 0.114)


def diverged_mark() -> Line2D:
    """Return the legend's entry for diverged runs."""
    return Line2D([], [], color="black", linestyle="", marker="x", markersize=9, label="diverged")


def variant_styles(variants: list[str]) -> dict[str, LineStyle]:
    """Return a style per variant; of lines that coincide, the later are thinner, so that the first shows below them."""
    return {
        variant: LineStyle(PALETTE[i % 6], max(3.6 - 1.6 * i, 1.4), _DASHES[i % len(_DASHES)], _MARKERS[i % 6])
        for i, variant in enumerate(variants)
    }
