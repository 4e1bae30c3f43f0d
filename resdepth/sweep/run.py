"""Train one run into its directory, or several interleaved in one process."""

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
from resdepth.host import signals_deferred
from resdepth.results import checkpoint, environment
from resdepth.results.checkpoint import CHECKPOINT, CheckpointWriter, save_weights
from resdepth.results.files.atomic import PART
from resdepth.results.files.lock import RunLockedError, locked
from resdepth.results.metrics import METRICS, EpochRecord, MetricsWriter, read_rows, write_rows
from resdepth.results.outcome import OUTCOME, Outcome, write_outcome
from resdepth.results.run_directory import FAILURE, WEIGHTS, write_config
from resdepth.sweep.compilation import compile_blocks
from resdepth.sweep.observer import Observer
from resdepth.sweep.plan import PlannedRun, longest_first
from resdepth.training.cuda import StreamPool
from resdepth.training.trainer import StepEvent, Trainer

_POLL_SECONDS = 5e-5  # between polls of a busy device; a step of these nets takes a millisecond
# As torch, the C++ library, cuBLAS and cuDNN say it; the last where an operation finds no room for its workspace.
_OUT_OF_MEMORY = (
    *("out of memory", "allocate memory", "bad allocation", "bad_alloc", "alloc_failed"),
    "unable to find an engine to execute this computation",
)


def train_run(run: PlannedRun, observer: Observer) -> Outcome:
    """Train one net into its directory, from the state that this is in. An exception becomes a failed outcome."""
    return train_interleaved([run], 1, observer)[0]


def train_interleaved(runs: Sequence[PlannedRun], concurrency: int, observer: Observer) -> list[Outcome]:
    """Train several runs, `concurrency` at once, submitting steps in turn; on a GPU each run has its own stream."""
    outcomes: dict[int, Outcome] = {}
    streams = StreamPool()
    waiting = deque(longest_first(runs) if concurrency > 1 else range(len(runs)))
    at_once = min(concurrency, len(runs))
    with contextlib.ExitStack() as stack:
        active: dict[int, Generator[StepEvent, None, Outcome]] = {}
        while active or waiting:
            while waiting and len(active) < concurrency:
                number = waiting.popleft()
                steps = _steps(runs[number], observer, streams, at_once)
                active[number] = stack.enter_context(contextlib.closing(steps))
            is_busy = True
            for number, steps in list(active.items()):
                try:
                    is_busy &= next(steps) is StepEvent.WAITING
                except StopIteration as end:
                    outcomes[number] = end.value
                    del active[number]
                    is_busy = False
            if is_busy:
                time.sleep(_POLL_SECONDS)
    return [outcomes[number] for number in range(len(runs))]


def _steps(
    run: PlannedRun, observer: Observer, streams: StreamPool, at_once: int
) -> Generator[StepEvent, None, Outcome]:
    """Train one run, yielding after every step; return its outcome."""
    started = time.perf_counter()
    last: EpochRecord | None = None
    try:
        run.directory.mkdir(parents=True, exist_ok=True)
        # Closed before the lock is released: a checkpoint may still be being written.
        with locked(run.directory), contextlib.closing(_epochs(run, observer, streams)) as epochs:
            for event in epochs:
                if isinstance(event, StepEvent):
                    yield event
                else:
                    last = event
                    observer.on_epoch(run, last)
            state = "diverged" if last is not None and last.diverged else "finished"
            outcome = Outcome(state, time.perf_counter() - started)
            write_outcome(run.directory, outcome)
            # Only now: with neither checkpoint nor outcome the run would start over.
            if not run.config.keep_checkpoint:
                (run.directory / CHECKPOINT).unlink(missing_ok=True)
    except RunLockedError as error:
        # Nothing is written: the directory belongs to the other process.
        outcome = Outcome("failed", time.perf_counter() - started, str(error))
    except Exception as error:
        outcome = record_failure(run, error, time.perf_counter() - started, at_once)
    observer.on_end(run, outcome, last)
    return outcome


def _epochs(run: PlannedRun, observer: Observer, streams: StreamPool) -> Generator[EpochRecord | StepEvent, None, None]:
    """Yield the record of each epoch once its row is written, and events in between; first the last of earlier ones."""
    config = run.config
    device = devices.resolve(config.device)
    devices.set_precision(config.precision, device)
    data = _device_data(config.data, config.recipe.normalise, config.recipe.pad, device)
    # However the run ends, the device completes its work before its memory and its stream go to another run.
    with streams.lend(device) as stream, contextlib.closing(Trainer(config, data, stream)) as trainer:
        yield from _recorded_epochs(run, trainer, observer)


def _recorded_epochs(
    run: PlannedRun, trainer: Trainer, observer: Observer
) -> Generator[EpochRecord | StepEvent, None, None]:
    config, folder = run.config, run.directory
    for leftover in [folder / OUTCOME, folder / FAILURE, *folder.glob(f"*{PART}"), *folder.glob(f"{WEIGHTS}/*{PART}")]:
        leftover.unlink(missing_ok=True)
    write_config(folder, config)
    done = _resume(run, trainer)
    environment.write(folder, trainer.data.mean.device, is_continued=bool(done), engine=trainer.engine)
    observer.on_start(run, trainer.epoch)
    yield from done[-1:]
    for _ in compile_blocks(trainer):
        yield StepEvent.WAITING
    with (
        MetricsWriter(folder / METRICS) as metrics,
        CheckpointWriter(folder / CHECKPOINT, config, metrics.sync, trainer.stream.as_current) as checkpoints,
    ):
        trainer.stream.wait_for_default()
        with trainer.stream.as_current():
            checkpoints.reserve(trainer.state_dict())
        for event in trainer.steps(partial(observer.on_step, run)):
            if isinstance(event, EpochRecord):
                # Row and state belong together. The row first: a checkpoint must never be ahead of its rows.
                with signals_deferred(), trainer.stream.as_current():
                    metrics.write(event)
                    # A diverged run ends here; continued from a checkpoint it would compute NaN.
                    if not event.diverged:
                        _keep_state(run, trainer, event, checkpoints)
            yield event
        # Before an outcome says that the rows are complete.
        metrics.sync()


def _keep_state(run: PlannedRun, trainer: Trainer, record: EpochRecord, checkpoints: CheckpointWriter) -> None:
    """Keep the state of a whole epoch, and write weights and a checkpoint where they are due."""
    config, is_last = run.config, record.iteration == trainer.schedule.iterations
    if config.keep_weights == "all" or (is_last and config.keep_weights == "last"):
        save_weights(run.directory, config, record.epoch, trainer.weights)
    if not is_last or config.keep_checkpoint:
        checkpoints.keep(trainer.state_dict())
        if is_last or checkpoints.is_due:
            checkpoints.save()


@lru_cache(maxsize=2)
def _device_data(data: DataConfig, normalise: str, pad: int, device: torch.device) -> DeviceData:
    """Load a data set onto the device, once for all runs that train at the same time."""
    return to_device(sources.load(data), normalise, pad, device)


def _resume(run: PlannedRun, trainer: Trainer) -> list[EpochRecord]:
    """Load the checkpoint, if there is one, and drop the rows after it: they are computed again, identically."""
    metrics, saved, config = run.directory / METRICS, run.directory / CHECKPOINT, run.config
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
    is_other = any((r.variant, r.depth, r.seed) != (config.variant, config.depth, config.seed) for r in rows)
    if is_other or len(rows) < trainer.epoch:
        fault = "contains rows of another run" if is_other else f"lacks rows of epochs 1 to {trainer.epoch}"
        raise RunError(f"{metrics}: {fault}; remove {saved.name} to start the run over")
    write_rows(metrics, rows)
    return rows


def record_failure(run: PlannedRun, error: Exception, seconds: float = 0.0, at_once: int = 1) -> Outcome:
    """Make the outcome of a failed run; write it and the traceback into the run's directory if possible."""
    folder, message = run.directory, str(error)
    if not isinstance(error, ResdepthError):
        line = (message.strip().splitlines() or [""])[0]
        message = f"{type(error).__name__}: {line} (the traceback is in {folder.name}/{FAILURE})"
        if isinstance(error, OSError):
            again = "fix that and run the same command again, which continues the run"
            message = f"{error.filename or folder}: {error.strerror or line}; {again}"
        if _is_out_of_memory(error):
            half = run.config.recipe.batch_size // 2
            smaller = f"runs_per_job={at_once // 2}, " if at_once > 1 else ""
            smaller += f"recipe.batch_size={half}, " if half > 1 else ""
            message = f"out of memory on the device; use {smaller}a smaller model.width or a lower depth"
    outcome = Outcome("failed", seconds, message)
    # The disk may be what failed; the outcome is reported in any case.
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / FAILURE).write_text("".join(traceback.format_exception(error)), encoding="utf-8")
        write_outcome(folder, outcome)
    return outcome


def _is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error, or the one while handling which it was raised, reports a lack of memory.

    A failed capture raises a second error.
    """
    line = str(error).strip().partition("\n")[0].lower()
    if isinstance(error, MemoryError) or any(words in line for words in _OUT_OF_MEMORY):
        return True
    earlier = error.__cause__ or error.__context__
    return earlier is not None and _is_out_of_memory(earlier)
