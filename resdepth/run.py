"""One run: from a planned run to its directory of results."""

import contextlib
import json
import time
import traceback
from collections.abc import Generator
from pathlib import Path
from typing import Any

from resdepth import device as devices
from resdepth import rundir
from resdepth.data import sources
from resdepth.data.resident import reside
from resdepth.errors import RecordError, ResdepthError, RunError
from resdepth.progress import Observer
from resdepth.records import (
    CHECKPOINT,
    ENVIRONMENT,
    FAILURE,
    METRICS,
    OUTCOME,
    PART,
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
from resdepth.training.checkpoint import CheckpointWriter
from resdepth.training.loop import Training


def run(planned: PlannedRun, observer: Observer) -> Outcome:
    """Train one net from where its directory stands, and leave rows, configuration, environment and outcome there.

    What goes wrong becomes an outcome, so that a sweep goes on with its other runs.
    """
    started = time.perf_counter()
    last: EpochRecord | None = None
    try:
        planned.directory.mkdir(parents=True, exist_ok=True)
        # Closed before the lock is let go: a checkpoint may still be on its way.
        with rundir.locked(planned.directory), contextlib.closing(_epochs(planned, observer)) as epochs:
            for last in epochs:
                observer.recorded(last)
            state = "diverged" if last is not None and last.diverged else "finished"
            outcome = Outcome(state, time.perf_counter() - started)
            write_outcome(planned.directory, outcome)
            # Only now: without its checkpoint and without an outcome the run would start over.
            if not planned.config.keep_checkpoint:
                (planned.directory / CHECKPOINT).unlink(missing_ok=True)
    except rundir.HeldElsewhereError as error:
        # Nothing is written: the directory is the other process's.
        outcome = Outcome("failed", time.perf_counter() - started, str(error))
    except Exception as error:
        outcome = _failed(planned, error, time.perf_counter() - started)
    observer.ended(planned, outcome, last)
    return outcome


def _epochs(planned: PlannedRun, observer: Observer) -> Generator[EpochRecord, None, None]:
    """The records of the epochs that are left, each written before it is yielded."""
    config, folder = planned.config, planned.directory
    device = devices.resolve(config.device)
    devices.set_precision(config.precision, device)
    training = Training(config, reside(sources.load(config.data), config.recipe.normalise, device))
    for leftover in [folder / OUTCOME, folder / FAILURE, *folder.glob(f"*{PART}")]:
        leftover.unlink(missing_ok=True)
    rundir.write_config(folder, config)
    done = _resume(planned, training)
    _write_environment(folder / ENVIRONMENT, devices.describe(device), is_continued=bool(done))
    observer.began(planned, training.epoch)
    yield from done[-1:]
    saved = time.monotonic()
    with (
        MetricsWriter(folder / METRICS) as metrics,
        CheckpointWriter(folder / CHECKPOINT, config, metrics.sync) as checkpoints,
    ):
        for record in training.epochs(observer.stepped):
            # The row first: a checkpoint must never be ahead of its rows.
            metrics.write(record)
            is_last = record.iteration == training.schedule.iterations
            is_due = time.monotonic() - saved >= config.checkpoint_seconds and not checkpoints.is_busy
            # A diverged run ends here: from its checkpoint it would only go on without numbers.
            if not record.diverged and (config.keep_checkpoint if is_last else is_due):
                checkpoints.save(training.state_dict())
                saved = time.monotonic()
            yield record
        # Before the outcome says that they are all there.
        metrics.sync()


def _resume(planned: PlannedRun, training: Training) -> list[EpochRecord]:
    """Load the checkpoint, if there is one, and cut the rows that are newer: they are computed again, identically."""
    metrics, saved, config = planned.directory / METRICS, planned.directory / CHECKPOINT, planned.config
    if saved.exists():
        state = checkpoint.load(saved, config, training.data.mean.device)
        try:
            training.load_state_dict(state)
        except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
            raise RunError(f"{saved}: does not fit the net; remove it and its run starts over") from error
    try:
        rows = read_rows(metrics)[: training.epoch] if training.epoch else []
    except RecordError as error:
        raise RunError(f"{error}; or remove {saved.name} to start the run over") from error
    if len(rows) < training.epoch:
        raise RunError(
            f"{metrics}: lacks rows of epochs 1 to {training.epoch}; remove {saved.name} to start the run over"
        )
    if any((r.variant, r.depth, r.seed) != (config.variant, config.depth, config.seed) for r in rows):
        raise RunError(f"{metrics}: holds rows of another run; remove {saved.name} to start the run over")
    write_rows(metrics, rows)
    return rows


def _write_environment(path: Path, environment: dict[str, Any], *, is_continued: bool) -> None:
    """Where the run is executed; where it was begun elsewhere, that too, as `continued_from`."""
    earlier: dict[str, Any] = {}
    if is_continued:
        with contextlib.suppress(OSError, ValueError):
            earlier = json.loads(path.read_text(encoding="utf-8"))
    is_same = {**earlier, "continued_from": None} == {**environment, "continued_from": None}
    before = earlier.get("continued_from") if is_same else earlier
    whole = {**environment, "continued_from": before} if before else environment
    write_text(path, json.dumps(whole, indent=2) + "\n")


def _failed(planned: PlannedRun, error: Exception, seconds: float) -> Outcome:
    """What went wrong, in one line, left in the run's directory with its traceback as far as that can be written."""
    folder, message = planned.directory, str(error)
    if not isinstance(error, ResdepthError):
        line = (message.strip().splitlines() or [""])[0]
        message = f"{type(error).__name__}: {line} (the traceback is in {folder.name}/{FAILURE})"
        if isinstance(error, OSError):
            again = "mend that and say the same command again, which continues the run"
            message = f"{error.filename or folder}: {error.strerror or line}; {again}"
        if _is_out_of_memory(error, line):
            half = planned.config.recipe.batch_size // 2
            smaller = f"recipe.batch_size={half}, " if half > 1 else ""
            message = f"out of memory on the device; say {smaller}a smaller model.width or a lower depth"
    outcome = Outcome("failed", seconds, message)
    # The disk may be what failed: what is known is said in any case.
    with contextlib.suppress(OSError):
        if folder.is_dir():
            (folder / FAILURE).write_text("".join(traceback.format_exception(error)), encoding="utf-8")
            write_outcome(folder, outcome)
    return outcome


def _is_out_of_memory(error: Exception, line: str) -> bool:
    """Whether memory ran out, on a GPU or in the host, as torch and Python say it."""
    words = ("out of memory", "allocate memory", "bad allocation", "bad_alloc")
    return isinstance(error, MemoryError) or any(word in line.lower() for word in words)
