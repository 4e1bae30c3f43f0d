"""Frozen dataclasses as rows of a CSV file: a field is a column, declared with its meaning and unit."""

import csv
import io
from collections.abc import Sequence
from dataclasses import MISSING, astuple, field, fields
from pathlib import Path
from typing import Any

from resdepth.results.atomic import atomic_write_text


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
