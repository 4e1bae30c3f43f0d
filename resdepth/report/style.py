"""Style shared by all figures, and writing them to files. Needs no display."""

from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from resdepth.config.checks import require_choice
from resdepth.results.files.atomic import atomic_open

STYLE: dict[Any, Any] = {
    "figure.dpi": 150,
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "legend.frameon": False,
    "legend.fontsize": 9,
    # Deterministic element ids: the same results give the same file.
    "svg.hashsalt": "resdepth",
}
# The palette of Okabe and Ito, distinguishable with colour blindness: vermilion, blue, green, purple, orange, sky blue.
PALETTE = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")


FORMATS = ("png", "svg", "pdf")
# Dates and versions in the metadata would change the file each time it is drawn.
_METADATA: dict[str, dict[str, str | None]] = {
    "png": {"Software": None},
    "svg": {"Date": None},
    "pdf": {"CreationDate": None, "Producer": None, "Creator": None},
}
# The field of the metadata that says what a file was drawn for.
_MARKED = {"png": "Description", "svg": "Description", "pdf": "Subject"}


def parse_formats(text: str) -> tuple[str, ...]:
    """Return the file types of "png,svg". Raises ConfigError for another one."""
    chosen = tuple(dict.fromkeys(part.strip() for part in text.split(",")))
    for name in chosen:
        require_choice("--format", name, FORMATS)
    return chosen


def save_figure(figure: Figure, stem: Path, formats: tuple[str, ...], mark: str = "") -> list[Path]:
    """Write the figure as `stem`.FORMAT, the same bytes for the same results, and close it. Returns the files.

    `mark`, an ASCII text, goes into the files' metadata, by which `is_marked` finds them again.
    """
    files = [stem.with_name(f"{stem.name}.{suffix}") for suffix in formats]
    for file, suffix in zip(files, formats, strict=True):
        metadata = _METADATA[suffix] | ({_MARKED[suffix]: mark} if mark else {})
        with atomic_open(file) as target, matplotlib.rc_context(STYLE):
            figure.savefig(target, format=suffix, metadata=metadata)
    plt.close(figure)
    return files


def is_marked(file: Path, mark: str) -> bool:
    """Whether a file was written by `save_figure` with this mark."""
    return file.suffix[1:] in FORMATS and file.is_file() and mark.encode() in file.read_bytes()
