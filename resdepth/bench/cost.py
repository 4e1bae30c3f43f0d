"""The rows of bench.csv and sweep.csv. Standard library only."""

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from resdepth.files import write_text
from resdepth.records import column

USUAL = "usual loop"


@dataclass(frozen=True)
class Cost:
    """A row of bench.csv."""

    device: str = column("the device's name")
    data: str = column("whose shape the images have; their pixels are random")
    variant: str = column("plain or residual")
    depth: int = column("layers")
    engine: str = column("eager, graph, compiled, or the usual loop beside them")
    precision: str = column("fp32, tf32 or bf16")
    gradient_checkpointing: bool = column("whether activations are computed again")
    at_once: int = column("runs side by side on the device")
    threads: int = column("threads of each on a CPU")
    batch: int = column("images of a minibatch")
    steps: int = column("steps timed")
    step_ms: float = column("milliseconds a step and run, the median: their number side by side already divides it")
    step_ms_low: float = column("its tenth percentile")
    step_ms_high: float = column("its ninetieth percentile")
    images_per_second: float = column("of all runs together")
    peak_memory_mib: float = column("MiB of the device at the peak, beyond what lay there before; all runs together")
    first_step_seconds: float = column("from nothing to the end of the first step: building, compiling, capturing")
    bytes_floor_ms: float = column("milliseconds a step at the measured copy bandwidth")
    operations_floor_ms: float = column("milliseconds a step at the measured matrix rate")
    note: str = column("what went wrong, where something did")

    @property
    def ratio_to_floor(self) -> float:
        """How many times the larger floor a step takes."""
        return self.step_ms / max(self.bytes_floor_ms, self.operations_floor_ms)


@dataclass(frozen=True)
class SweepTime:
    """A row of sweep.csv: one way to train the runs of a sweep."""

    device: str = column("the device's name")
    sweep: str = column("the overrides")
    way: str = column("how the runs were trained")
    seconds: float = column("wall time, the program's start included where it is this program")
    ratio: float = column("to the plain loop's time")


def write(path: Path, rows: Sequence[Cost] | Sequence[SweepTime]) -> None:
    """Write rows as CSV, whole or not at all; six digits say all that a timing holds."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(f.name for f in fields(rows[0]))
    writer.writerows(_cells(asdict(row).values()) for row in rows)
    write_text(path, text.getvalue())


def read_costs(path: Path) -> list[Cost]:
    """The rows of a bench.csv."""
    with path.open(encoding="utf-8", newline="") as file:
        return [Cost(**{f.name: _parsed(f.type, row[f.name]) for f in fields(Cost)}) for row in csv.DictReader(file)]


def read_sweep_times(path: Path) -> list[SweepTime]:
    """The rows of a sweep.csv."""
    with path.open(encoding="utf-8", newline="") as file:
        found = csv.DictReader(file)
        return [SweepTime(**{f.name: _parsed(f.type, row[f.name]) for f in fields(SweepTime)}) for row in found]


def _parsed(kind: Any, text: str) -> Any:
    return text == "True" if kind is bool else kind(text)


def _cells(values: Iterable[Any]) -> list[str]:
    return [format(value, ".6g") if isinstance(value, float) else str(value) for value in values]
