"""Runs: from a planned run to its directory of results, one at a time or several in turns."""

import contextlib
import time
import traceback
from collections import deque
from collections.abc import Generator, Sequence
from functools import lru_cache, partial

import torch

from resdepth import device as devices
from resdepth.config.schema import DataConfig
from resdepth.data import sources
from resdepth.data.device_data import DeviceData, to_device
from resdepth.errors import RecordError, ResdepthError, RunError
from resdepth.results import checkpoint, environment, run_directory
from resdepth.results.atomic import PART
from resdepth.results.checkpoint import CHECKPOINT, CheckpointWriter
from resdepth.results.metrics import METRICS, EpochRecord, MetricsWriter, read_rows, write_rows
from resdepth.results.outcome import OUTCOME, Outcome, write_outcome
from resdepth.results.run_directory import FAILURE
from resdepth.sweep.observer import Observer
from resdepth.sweep.plan import PlannedRun, longest_first
from resdepth.training.trainer import StepEvent, Trainer

# How long to wait where every run on the device is behind; a step of these nets lasts a millisecond.
_TURN_SECONDS = 5e-5


def train_run(planned: PlannedRun, observer: Observer) -> Outcome:
    """Train one net from where its directory stands, and leave rows, configuration, environment and outcome there.

    What goes wrong becomes an outcome, so that a sweep goes on with its other runs.
    """
    return train_interleaved([planned], 1, observer)[0]


def train_interleaved(runs: Sequence[PlannedRun], concurrency: int, observer: Observer) -> list[Outcome]:
    """Train several runs in this process, `concurrency` of them side by side; their outcomes, in order.

    One thread feeds them in turns: on a GPU each has a stream of its own, and what is fed never waits.
    """
    outcomes: dict[int, Outcome] = {}
    waiting = deque(longest_first(runs) if concurrency > 1 else range(len(runs)))
    with contextlib.ExitStack() as stack:
        active: dict[int, Generator[StepEvent, None, Outcome]] = {}
        while active or waiting:
            while waiting and len(active) < concurrency:
                number = waiting.popleft()
                active[number] = stack.enter_context(contextlib.closing(_steps(runs[number], observer)))
            is_behind = True
            for number, events in list(active.items()):
                try:
                    is_behind &= next(events) is StepEvent.DEVICE_BUSY
                except StopIteration as end:
                    outcomes[number] = end.value
                    del active[number]
                    is_behind = False
            if is_behind:
                time.sleep(_TURN_SECONDS)
    return [outcomes[number] for number in range(len(runs))]


def _steps(planned: PlannedRun, observer: Observer) -> Generator[StepEvent, None, Outcome]:
    """One run, giving way after every step; returns its outcome."""
    started = time.perf_counter()
    last: EpochRecord | None = None
    try:
        planned.directory.mkdir(parents=True, exist_ok=True)
        # Closed before the lock is let go: a checkpoint may still be on its way.
        with run_directory.locked(planned.directory), contextlib.closing(_epochs(planned, observer)) as epochs:
            for event in epochs:
                if isinstance(event, StepEvent):
                    yield event
                else:
                    last = event
                    observer.on_epoch(planned, last)
            state = "diverged" if last is not None and last.diverged else "finished"
            outcome = Outcome(state, time.perf_counter() - started)
            write_outcome(planned.directory, outcome)
            # Only now: without its checkpoint and without an outcome the run would start over.
            if not planned.config.keep_checkpoint:
                (planned.directory / CHECKPOINT).unlink(missing_ok=True)
    except run_directory.RunLockedError as error:
        # Nothing is written: the directory is the other process's.
        outcome = Outcome("failed", time.perf_counter() - started, str(error))
    except Exception as error:
        outcome = _failed(planned, error, time.perf_counter() - started)
    observer.on_end(planned, outcome, last)
    return outcome


def _epochs(planned: PlannedRun, observer: Observer) -> Generator[EpochRecord | StepEvent, None, None]:
    """The records of the epochs that are left, each written before it is yielded, and the ticks between them."""
    config, folder = planned.config, planned.directory
    device = devices.resolve(config.device)
    devices.set_precision(config.precision, device)
    trainer = Trainer(config, _resident(config.data, config.recipe.normalise, config.recipe.pad, device))
    for leftover in [folder / OUTCOME, folder / FAILURE, *folder.glob(f"*{PART}")]:
        leftover.unlink(missing_ok=True)
    run_directory.write_config(folder, config)
    done = _resume(planned, trainer)
    environment.write(folder, device, is_continued=bool(done), engine=trainer.engine)
    observer.on_start(planned, trainer.epoch)
    yield from done[-1:]
    saved = time.monotonic()
    with (
        MetricsWriter(folder / METRICS) as metrics,
        CheckpointWriter(folder / CHECKPOINT, config, metrics.sync) as checkpoints,
    ):
        for event in trainer.steps(partial(observer.on_step, planned)):
            if isinstance(event, EpochRecord):
                # The row first: a checkpoint must never be ahead of its rows.
                metrics.write(event)
                is_last = event.iteration == trainer.schedule.iterations
                is_due = time.monotonic() - saved >= config.checkpoint_seconds and not checkpoints.is_busy
                # A diverged run ends here: from its checkpoint it would only go on without numbers.
                if not event.diverged and (config.keep_checkpoint if is_last else is_due):
                    checkpoints.save(trainer.state_dict())
                    saved = time.monotonic()
            yield event
        # Before the outcome says that they are all there.
        metrics.sync()


@lru_cache(maxsize=2)
def _resident(data: DataConfig, normalise: str, pad: int, device: torch.device) -> DeviceData:
    """Runs that take turns share what lies on the device."""
    return to_device(sources.load(data), normalise, pad, device)


def _resume(planned: PlannedRun, trainer: Trainer) -> list[EpochRecord]:
    """Load the checkpoint, if there is one, and cut the rows that are newer: they are computed again, identically."""
    metrics, saved, config = planned.directory / METRICS, planned.directory / CHECKPOINT, planned.config
    if saved.exists():
        state = checkpoint.load(saved, config, trainer.data.mean.device)
        try:
            trainer.load_state_dict(state)
        except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
            raise RunError(f"{saved}: does not fit the net; remove it and its run starts over") from error
    try:
        rows = read_rows(metrics)[: trainer.epoch] if trainer.epoch else []
    except RecordError as error:
        raise RunError(f"{error}; or remove {saved.name} to start the run over") from error
    if len(rows) < trainer.epoch:
        raise RunError(
            f"{metrics}: lacks rows of epochs 1 to {trainer.epoch}; remove {saved.name} to start the run over"
        )
    if any((r.variant, r.depth, r.seed) != (config.variant, config.depth, config.seed) for r in rows):
        raise RunError(f"{metrics}: holds rows of another run; remove {saved.name} to start the run over")
    write_rows(metrics, rows)
    return rows


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
