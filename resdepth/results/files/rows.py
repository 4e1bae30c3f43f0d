"""Frozen dataclasses as rows of a CSV file: a field is a column, declared with its meaning and unit."""

import csv
import io
from collections.abc import Sequence
from dataclasses import MISSING, astuple, field, fields
from pathlib import Path
from typing import Any, TypeVar

from resdepth.errors import RecordError
from resdepth.results.files.atomic import atomic_write_text

_Row = TypeVar("_Row")
_BOOLEANS = {"True": True, "False": False}


def column(meaning: str, unit: str = "", default: Any = MISSING) -> Any:
    """Declare a dataclass field that is a CSV column: its meaning, its unit, and a default for files without it."""
    return field(default=default, metadata={"meaning": meaning, "unit": unit})


def write(path: Path, rows: Sequence[Any]) -> None:
    """Write the rows, all of one dataclass, as a CSV file atomically; floats have six significant digits."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(f.name for f in fields(rows[0]))
    writer.writerows([f"{v:.6g}" if isinstance(v, float) else v for v in astuple(row)] for row in rows)
    atomic_write_text(path, text.getvalue())


def read(path: Path, kind: type[_Row], remedy: str = "fix it, or move its folder away") -> list[_Row]:
    """Read the rows that `write` wrote. Raises RecordError, naming file and line, for anything else."""
    columns = fields(kind)  # type: ignore[arg-type]
    try:
        with path.open(encoding="utf-8", newline="") as file:
            lines = list(csv.reader(file, strict=True))
    except (OSError, ValueError, csv.Error) as error:
        raise RecordError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error}); {remedy}") from error
    if lines[:1] != [[c.name for c in columns]]:
        raise RecordError(f"{path}: line 1 is not the header of a {kind.__name__}; {remedy}")
    rows = []
    for number, line in enumerate(lines[1:], start=2):
        try:
            if len(line) != len(columns):
                raise ValueError(f"{len(line)} columns instead of {len(columns)}")
            rows.append(kind(*(_parse(c.type, text) for c, text in zip(columns, line, strict=True))))
        except (KeyError, ValueError) as error:
            raise RecordError(f"{path}: line {number} is not a {kind.__name__} ({error}); {remedy}") from error
    return rows


def _parse(kind: Any, text: str) -> Any:
    return _BOOLEANS[text] if kind is bool else kind(text)
