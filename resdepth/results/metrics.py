"""The CSV: one row per epoch, in one schema. Standard library only.

metrics.csv     one EpochRecord per row, the header once, flushed row by row
outcome.json    how the run ended; absent while it runs
"""

import csv
import io
import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from resdepth.errors import RecordError
from resdepth.results.atomic import atomic_write_text
from resdepth.results.rows import column

SCHEMA_VERSION = 1
METRICS = "metrics.csv"


@dataclass(frozen=True)
class EpochRecord:
    """One epoch of one run; its fields are the columns of metrics.csv, in this order. NaN is an empty field."""

    schema_version: int = column("version of this schema")
    dataset: str = column("the data option's name")
    model: str = column("the model option's name")
    variant: str = column("plain, residual, or another entry of the table of variants")
    depth: int = column("weighted layers, 6n+2", "layers")
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
        """Whether the loss is no longer a number, from where no step leads back."""
        return not math.isfinite(self.train_loss)


COLUMNS: tuple[str, ...] = tuple(f.name for f in fields(EpochRecord))
# NaN means "not measured" in these columns; a training loss that is not a number is written as it is.
_MEASURED = ("train_error_clean", "test_loss", "test_error")
_MEND = "mend it, or move its folder away"
_PARSERS: dict[str, Any] = {f.name: f.type for f in fields(EpochRecord)}  # int, float or str


def _text(name: str, value: Any) -> str:
    if not isinstance(value, float):
        return str(value)
    if math.isnan(value) and name in _MEASURED:
        return ""
    # Seven digits say all that a float32 sum holds.
    return format(value, ".7g")


def to_row(record: EpochRecord) -> list[str]:
    """The record as the CSV's fields, in the order of COLUMNS."""
    return [_text(name, value) for name, value in asdict(record).items()]


class MetricsWriter:
    """Appends records to a run's metrics.csv; each row is handed to the operating system before `write` returns."""

    def __init__(self, path: Path) -> None:
        is_new = not path.exists() or path.stat().st_size == 0
        self._file = path.open("a", encoding="utf-8", newline="")
        self._csv = csv.writer(self._file, lineterminator="\n")
        if is_new:
            self._write(COLUMNS)

    def write(self, record: EpochRecord) -> None:
        self._write(to_row(record))

    def sync(self) -> None:
        """Have the rows on the disk, before a checkpoint that builds on them."""
        os.fsync(self._file.fileno())

    def _write(self, row: Sequence[str]) -> None:
        self._csv.writerow(row)
        self._file.flush()

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> "MetricsWriter":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def read_rows(path: Path) -> list[EpochRecord]:
    """The records of a metrics.csv. A last line without its newline is still being written and is left out.

    Raises RecordError, naming file and line, for anything that is not such a file.
    """
    text = _text_of(path)
    whole = text[: text.rfind("\n") + 1]
    try:
        lines = list(csv.reader(whole.split("\n")[:-1], strict=True))
    except csv.Error as error:
        raise RecordError(f"{path}: is no CSV ({error}); {_MEND}") from error
    if not lines:
        return []
    if tuple(lines[0]) != COLUMNS:
        raise RecordError(f"{path}: line 1 is not the header of schema {SCHEMA_VERSION}; move the file away")
    records = [_parse(path, number, line) for number, line in enumerate(lines[1:], start=2)]
    for expected, record in enumerate(records, start=1):
        if record.epoch != expected:
            raise RecordError(
                f"{path}: line {expected + 1} is epoch {record.epoch}, not {expected}; put the rows in order, each once"
            )
    return records


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise RecordError(f"{path}: cannot be read ({reason}); {_MEND}") from error


def _parse(path: Path, number: int, line: Sequence[str]) -> EpochRecord:
    if len(line) != len(COLUMNS):
        raise RecordError(f"{path}: line {number} has {len(line)} fields, not {len(COLUMNS)}; mend or remove it")
    if tuple(line) == COLUMNS:
        raise RecordError(f"{path}: line {number} repeats the header; remove that line")
    if line[0] != str(SCHEMA_VERSION):
        raise RecordError(
            f"{path}: line {number} is of schema {line[0][:9]!a}, not {SCHEMA_VERSION}; use the program that wrote it"
        )
    values: dict[str, Any] = {}
    for name, text in zip(COLUMNS, line, strict=True):
        try:
            values[name] = math.nan if text == "" and name in _MEASURED else _PARSERS[name](text)
            fault = _fault(name, values[name])
        except ValueError:
            fault = {int: "needs a whole number", float: "needs a number"}[_PARSERS[name]]
        if fault:
            raise RecordError(f"{path}: line {number}: {name}={text[:40]!a}: {fault}; {_MEND}")
    return EpochRecord(**values)


def _fault(name: str, value: Any) -> str:
    """What is wrong with a value that no run writes, which would pass for a measurement or stop a figure."""
    if isinstance(value, str):
        return "" if value.isprintable() else "needs a text without control characters"
    # A loss may be infinite or no number, and what was not measured is NaN.
    is_missing = name in _MEASURED and math.isnan(value)
    if is_missing or name.endswith("_loss"):
        return ""
    highest = 100.0 if "_error" in name else 2.0**63 - 1024
    return "" if 0 <= value <= highest else f"needs a number from 0 to {highest:g}"


def write_rows(path: Path, records: Iterable[EpochRecord]) -> None:
    """Replace a metrics.csv by these records, whole or not at all."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows([COLUMNS, *map(to_row, records)])
    atomic_write_text(path, text.getvalue())
