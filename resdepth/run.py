"""One run: from a planned run to its directory of results."""

import json
import time
import traceback
from collections.abc import Iterator
from typing import Protocol

from resdepth import device as devices
from resdepth import rundir
from resdepth.data import sources
from resdepth.data.resident import reside
from resdepth.errors import ResdepthError
from resdepth.records import (
    CHECKPOINT,
    ENVIRONMENT,
    METRICS,
    OUTCOME,
    EpochRecord,
    MetricsWriter,
    Outcome,
    read_rows,
    write_outcome,
    write_rows,
    write_text,
)
from resdepth.sweep import PlannedRun
from resdepth.training import checkpoint
from resdepth.training.loop import Training

FAILURE = "failure.txt"


class Observer(Protocol):
    """Who is told how the runs go: the progress display."""

    def began(self, run: PlannedRun, epochs_done: int) -> None: ...
    def stepped(self, iteration: int) -> None: ...
    def recorded(self, record: EpochRecord) -> None: ...
    def ended(self, run: PlannedRun, outcome: Outcome, last: EpochRecord | None) -> None: ...


def run(planned: PlannedRun, observer: Observer) -> Outcome:
    """Train one net from where its directory stands, and leave rows, configuration, environment and outcome there.

    What goes wrong becomes an outcome, so that a sweep goes on with its other runs.
    """
    started = time.perf_counter()
    last: EpochRecord | None = None
    try:
        for last in _epochs(planned, observer):
            observer.recorded(last)
        state = "diverged" if last is not None and last.diverged else "finished"
        outcome = Outcome(state, time.perf_counter() - started)
        if not planned.config.keep_checkpoint:
            (planned.directory / CHECKPOINT).unlink(missing_ok=True)
    except Exception as error:
        outcome = _failed(planned, error, time.perf_counter() - started)
    if planned.directory.is_dir():
        write_outcome(planned.directory, outcome)
    observer.ended(planned, outcome, last)
    return outcome


def _epochs(planned: PlannedRun, observer: Observer) -> Iterator[EpochRecord]:
    """The records of the epochs that are left, each written before it is yielded."""
    config, folder = planned.config, planned.directory
    device = devices.resolve(config.device)
    devices.set_precision(config.precision, device)
    training = Training(config, reside(sources.load(config.data), config.recipe.normalise, device))
    folder.mkdir(parents=True, exist_ok=True)
    rundir.write_config(folder, config)
    write_text(folder / ENVIRONMENT, json.dumps(devices.describe(device), indent=2) + "\n")
    for name in (OUTCOME, FAILURE):
        (folder / name).unlink(missing_ok=True)
    done = _resume(planned, training)
    observer.began(planned, training.epoch)
    yield from done[-1:]
    saved = time.monotonic()
    with MetricsWriter(folder / METRICS) as metrics:
        for record in training.epochs(observer.stepped):
            # The row first: a checkpoint must never be ahead of its rows.
            metrics.write(record)
            is_last = record.iteration == training.schedule.iterations
            is_due = time.monotonic() - saved >= config.checkpoint_seconds
            if (is_due and not is_last) or (is_last and config.keep_checkpoint):
                checkpoint.save(folder / CHECKPOINT, training.state_dict())
                saved = time.monotonic()
            yield record


def _resume(planned: PlannedRun, training: Training) -> list[EpochRecord]:
    """Load the checkpoint, if there is one, and cut the rows that are newer: they are computed again, identically."""
    metrics, saved = planned.directory / METRICS, planned.directory / CHECKPOINT
    if saved.exists():
        training.load_state_dict(checkpoint.load(saved, training.data.mean.device))
    rows = [row for row in read_rows(metrics) if row.epoch <= training.epoch] if training.epoch else []
    write_rows(metrics, rows)
    return rows


def _failed(planned: PlannedRun, error: Exception, seconds: float) -> Outcome:
    if isinstance(error, ResdepthError):
        return Outcome("failed", seconds, str(error))
    line = (str(error).strip().splitlines() or [""])[0]
    message = f"{type(error).__name__}: {line}"
    if planned.directory.is_dir():
        (planned.directory / FAILURE).write_text(traceback.format_exc(), encoding="utf-8")
        message += f" (the traceback is in {planned.directory / FAILURE})"
    if "out of memory" in line.lower():
        half = planned.config.recipe.batch_size // 2
        message = f"out of memory on the device; say recipe.batch_size={half} or a lower depth"
    return Outcome("failed", seconds, message)
