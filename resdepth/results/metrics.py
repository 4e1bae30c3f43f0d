"""metrics.csv: one EpochRecord per row, the header once, each row flushed as it is written. Standard library only."""

import csv
import io
import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

from resdepth.errors import RecordError
from resdepth.results.files.atomic import atomic_write_text
from resdepth.results.files.rows import column

METRICS = "metrics.csv"
SCHEMA_VERSION = 1


@dataclass(frozen=True)
class EpochRecord:
    """One epoch of one run; its fields are the columns of metrics.csv, in this order. NaN is an empty field."""

    schema_version: int = column("version of this schema")
    dataset: str = column("the data option's name")
    model: str = column("the model option's name")
    variant: str = column("plain, residual, or another entry of the table of variants")
    depth: int = column("weighted layers", "layers")
    shortcut: str = column("option A, B or C; none where the variant has no shortcut")
    seed: int = column("seed of initialisation, order and augmentation")
    epoch: int = column("epochs done, from 1; the last may be a part of one", "epochs")
    iteration: int = column("minibatches done", "minibatches")
    lr: float = column("learning rate of the epoch's last minibatch")
    train_loss: float = column("mean cross-entropy over the epoch's augmented minibatches, while training", "nats")
    train_error: float = column("error over the epoch's augmented minibatches, while training", "percent")
    train_error_clean: float = column("error on the training set, evaluation mode, no augmentation", "percent")
    test_loss: float = column("mean cross-entropy on the test set", "nats")
    test_error: float = column("error on the test set, single view", "percent")
    epoch_seconds: float = column("wall time of the epoch, its evaluation included", "seconds")

    @property
    def diverged(self) -> bool:
        """Whether the training loss is infinite or NaN, from which no further step recovers."""
        return not math.isfinite(self.train_loss)


COLUMNS: tuple[str, ...] = tuple(f.name for f in fields(EpochRecord))
# NaN means "not measured" in these columns; a training loss that is NaN is written as nan.
_OPTIONAL = ("train_error_clean", "test_loss", "test_error")
_TYPES: dict[str, Any] = {f.name: f.type for f in fields(EpochRecord)}  # int, float or str
_FIX = "fix it, or move its folder away"


def to_row(record: EpochRecord) -> list[str]:
    """Format a record as CSV fields, in the order of COLUMNS. A float32 sum has no more than seven digits."""
    return [
        ("" if math.isnan(v) and name in _OPTIONAL else f"{v:.7g}") if isinstance(v, float) else str(v)
        for name, v in zip(COLUMNS, astuple(record), strict=True)
    ]


class MetricsWriter:
    """Appends records to a metrics.csv; `write` returns once the row is handed to the operating system."""

    def __init__(self, path: Path) -> None:
        is_new = not path.exists() or path.stat().st_size == 0
        self._file = path.open("a", encoding="utf-8", newline="")
        self._csv = csv.writer(self._file, lineterminator="\n")
        if is_new:
            self._csv.writerow(COLUMNS)
            self._file.flush()

    def write(self, record: EpochRecord) -> None:
        """Append one row and flush it."""
        self._csv.writerow(to_row(record))
        self._file.flush()

    def sync(self) -> None:
        """Force the rows to disk, before a checkpoint that builds on them."""
        os.fsync(self._file.fileno())

    def __enter__(self) -> "MetricsWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def write_rows(path: Path, records: Iterable[EpochRecord]) -> None:
    """Replace a metrics.csv by these records, atomically."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows([COLUMNS, *map(to_row, records)])
    atomic_write_text(path, text.getvalue())


def read_rows(path: Path) -> list[EpochRecord]:
    """Read the records of a metrics.csv, as `read_columns` does."""
    return [EpochRecord(*values) for values in zip(*read_columns(path).values(), strict=True)]


def read_columns(path: Path, *, is_complete: bool = False) -> dict[str, list[Any]]:
    """Read a metrics.csv as one list per column. A last line without its newline is still being written and left out.

    `is_complete` says that the run has ended, so that there must be rows and no torn line.
    Raises RecordError, naming file and line, for anything else than such a file.
    """
    try:
        text = path.read_text(encoding="utf-8")
        whole, newline, torn = text.rpartition("\n")
        header, *lines = csv.reader(whole.split("\n"), strict=True) if newline else [COLUMNS]
    except OSError as error:
        raise RecordError(f"{path}: cannot be read ({error.strerror}); move its folder away, or fix that") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise RecordError(f"{path}: is not a CSV file ({error}); {_FIX}") from error
    if tuple(header) != COLUMNS:
        raise RecordError(f"{path}: line 1 is not the header of schema {SCHEMA_VERSION}; move the file away")
    again = "though the run has ended; move its folder away to train it again"
    if is_complete and not lines:
        raise RecordError(f"{path}: contains no row, {again}")
    try:
        texts = zip(*lines, strict=True) if lines else [()] * len(COLUMNS)
        columns = {name: _parse(name, column) for name, column in zip(COLUMNS, texts, strict=True)}
    except ValueError:
        # Parsing whole columns is fast and does not say which line is wrong.
        for number, line in enumerate(lines, start=2):
            _require_line(path, number, line)
        raise
    for expected, epoch in enumerate(columns["epoch"], start=1):
        if epoch != expected:
            remedy = "put the rows in order, each once"
            raise RecordError(f"{path}: line {expected + 1} is epoch {epoch}, not {expected}; {remedy}")
    if is_complete and torn:
        raise RecordError(f"{path}: line {len(lines) + 2} is incomplete, {again}")
    return columns


def _parse(name: str, texts: Sequence[str]) -> list[Any]:
    """Parse the fields of one column. Raises ValueError, saying what a field needs, for a value that no run writes."""
    kind = _TYPES[name]
    if len(texts) > 1 and texts.count(texts[0]) == len(texts):
        return _parse(name, texts[:1]) * len(texts)
    if kind is str:
        if not all(text.isprintable() for text in texts):
            raise ValueError("needs a text without control characters")
        return list(texts)
    try:
        values = [math.nan if text == "" and name in _OPTIONAL else kind(text) for text in texts]
    except ValueError:
        raise ValueError("needs a whole number" if kind is int else "needs a number") from None
    highest = 100.0 if "_error" in name else 2.0**63 - 1024
    # A loss may be infinite or NaN, and what was not measured is NaN.
    if not name.endswith("_loss") and not all(
        0 <= value <= highest or (value != value and name in _OPTIONAL)  # noqa: PLR0124
        for value in values
    ):
        raise ValueError(f"needs a number from 0 to {highest:g}")
    if name == "schema_version" and texts and set(texts) != {str(SCHEMA_VERSION)}:
        raise ValueError("is another schema")
    return values


def _require_line(path: Path, number: int, line: Sequence[str]) -> None:
    """Raises RecordError with the line's number for a line that is not an EpochRecord."""
    where = f"{path}: line {number}"
    if len(line) != len(COLUMNS):
        raise RecordError(f"{where} has {len(line)} fields, not {len(COLUMNS)}; fix or remove it")
    if tuple(line) == COLUMNS:
        raise RecordError(f"{where} repeats the header; remove that line")
    if line[0] != str(SCHEMA_VERSION):
        schema = f"{line[0][:9]!a}, not {SCHEMA_VERSION}"
        raise RecordError(f"{where} is of schema {schema}; use the version of resdepth that wrote it")
    for name, text in zip(COLUMNS, line, strict=True):
        try:
            _parse(name, [text])
        except ValueError as fault:
            raise RecordError(f"{where}: {name}={text[:40]!a}: {fault}; {_FIX}") from fault
