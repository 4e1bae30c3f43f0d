"""The lecture's claims beside what the probes found: a table in Markdown, from the CSV files. Needs no torch."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from resdepth.config.schema import PUBLISHED
from resdepth.errors import ConfigError, RecordError
from resdepth.probes.report.findings import findings
from resdepth.probes.rows import PROBES, SETTINGS

_HEADER = ("the lecture's claim", "command", "CSV", "figure", "found")
# More sentences would make the table unreadable; a probe's first are the most important.
_MOST_SENTENCES = 4


def make_table(root: Path, *, is_whole: bool = False) -> list[str]:
    """Return the lines of a table with a row for every probe's CSV below a folder, in the order of `PROBES`.

    A row has at most four sentences, or with `is_whole` all. Raises ConfigError for a folder without any probe.
    """
    if not root.is_dir():
        raise ConfigError("results", root, "is not a folder; name one with probes, such as results/digits")
    lines = [_row(name, csv, is_whole=is_whole) for name in PROBES for csv in _files(root, name)]
    if not lines:
        remedy = "contains no probe; make one with resdepth probe gradients depth=20,56,110"
        raise ConfigError("results", root, remedy)
    return [_join(_HEADER), "|---" * len(_HEADER) + "|", *lines]


def _files(root: Path, name: str) -> Iterator[Path]:
    for csv in sorted(root.rglob(f"{name}.csv")):
        below = csv.relative_to(root).parts
        if (csv.parent / SETTINGS).is_file() and PUBLISHED not in below and not any(p.startswith(".") for p in below):
            yield csv


def _row(name: str, csv: Path, *, is_whole: bool) -> str:
    """Return one row; a probe that was made in several steps has several commands."""
    try:
        commands = json.loads((csv.parent / SETTINGS).read_text(encoding="utf-8"))["commands"]
    except (OSError, ValueError, KeyError, TypeError):
        commands = []
    try:
        found = findings(name, csv)
    except RecordError as error:
        found = [str(error)]
    if len(found) > _MOST_SENTENCES and not is_whole:
        more = f"{len(found) - _MOST_SENTENCES} more: `resdepth probe table {csv.parent.as_posix()} --all`"
        found = [*found[:_MOST_SENTENCES], more]
    figures = [path for path in map(csv.with_suffix, (".png", ".svg")) if path.exists()]
    cells = ([f"`{command}`" for command in commands], [_link(csv)], [*map(_link, figures[:1])], found)
    return _join([PROBES[name].claim, *map("<br>".join, cells)])


def _link(path: Path) -> str:
    return f"[{path.name}]({path.as_posix()})"


def _join(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
