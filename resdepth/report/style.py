"""How every figure looks and how it is written. No screen."""

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from resdepth.results.atomic import atomic_open

STYLE: dict[Any, Any] = {
    "figure.dpi": 150,
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "legend.frameon": False,
    "legend.fontsize": 9,
    # The same results give the same file.
    "svg.hashsalt": "resdepth",
}


def save_figure(figure: Figure, stem: Path, formats: tuple[str, ...]) -> list[Path]:
    """Write the figure as `stem`.png and so on, and close it; the same results give the same files."""
    files = [stem.with_name(f"{stem.name}.{suffix}") for suffix in formats]
    for file, suffix in zip(files, formats, strict=True):
        with atomic_open(file) as target:
            # No date in the file, so that drawing again changes nothing.
            metadata = {"Date": None} if suffix == "svg" else {"Software": None}
            figure.savefig(target, format=suffix, metadata=metadata)
    plt.close(figure)
    return files
