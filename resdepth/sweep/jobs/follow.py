"""The progress of runs that other processes train, from the files in their directories. Needs no torch."""

import threading
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from resdepth.errors import RecordError
from resdepth.results.files.lock import LOCK
from resdepth.results.metrics import METRICS, EpochRecord, read_rows
from resdepth.results.outcome import OUTCOME, Outcome, read_outcome
from resdepth.results.run_directory import RunState, set_aside
from resdepth.sweep.observer import Observer
from resdepth.sweep.plan import PlannedRun

_SECONDS = 0.5  # between looks
_SHARE = 20  # a look may take this part of the time, or many runs would keep a file server busy


@dataclass
class _Followed:
    """A run that has not ended, and what is known of it."""

    run: PlannedRun
    epochs_before: int  # of an earlier sweep
    size: int  # of metrics.csv when it was last read, bytes
    last: EpochRecord | None
    is_started: bool = False


class Follower:
    """Tells an observer what happens in the directories of runs. `outcomes` holds those that have ended."""

    def __init__(self, runs: Sequence[PlannedRun], observer: Observer) -> None:
        self._observer = observer
        self.outcomes: dict[Path, Outcome] = {}
        self._active: dict[Path, _Followed] = {}
        for run in runs:
            rows = _rows(run.directory)
            self._active[run.directory] = _Followed(
                run, len(rows), _size(run.directory / METRICS), rows[-1] if rows else None
            )
        self._next = 0.0

    @property
    def active(self) -> tuple[PlannedRun, ...]:
        """The runs that have not ended."""
        return tuple(followed.run for followed in self._active.values())

    def look(self, folders: Collection[Path] | None = None, *, at_once: bool = False) -> None:
        """Look at the runs, or at those in `folders`, if the last look is long enough ago, and report what is new."""
        started = time.monotonic()
        if started < self._next and not at_once:
            return
        for folder in [folder for folder in self._active if folders is None or folder in folders]:
            self._look_at(self._active[folder])
        ended = time.monotonic()
        self._next = ended + max(_SECONDS, _SHARE * (ended - started))

    def end(self, run: PlannedRun, outcome: Outcome) -> None:
        """Report the end of a run, which did not write one itself."""
        followed = self._active.pop(run.directory)
        self.outcomes[run.directory] = outcome
        self._observer.on_end(run, outcome, followed.last)

    def _look_at(self, followed: _Followed) -> None:
        run = followed.run
        try:
            outcome = read_outcome(run.directory)
        except RecordError:  # it is being written, or will be reported when the results are read
            return
        size = _size(run.directory / METRICS)
        if not followed.is_started and (size != followed.size or (run.directory / LOCK).exists()):
            followed.is_started = True
            self._observer.on_start(run, followed.epochs_before)
        if size != followed.size and (rows := _rows(run.directory)):
            followed.size, followed.last = size, rows[-1]
            if followed.is_started:
                self._observer.on_step(run, rows[-1].iteration)
                self._observer.on_epoch(run, rows[-1])
        if outcome is not None:
            self.end(run, outcome)


def clear(runs: Iterable[PlannedRun]) -> dict[Path, Path]:
    """Set aside the results of runs that start over, and return where to; remove the marks of earlier failures.

    With such a mark it would look as if the run had failed again.
    """
    moved = {}
    for run in runs:
        if run.state is RunState.RESTARTED:
            moved[set_aside(run.directory)] = run.directory
        elif run.state is RunState.FAILED and (outcome := read_outcome(run.directory)) and not outcome.is_result:
            (run.directory / OUTCOME).unlink(missing_ok=True)
    return moved


@contextmanager
def following(runs: Sequence[PlannedRun], observer: Observer) -> Iterator[Follower]:
    """Follow runs in a thread as long as the `with` block lasts, and look once more at its end."""
    follower, is_over = Follower(runs, observer), threading.Event()

    def follow() -> None:
        while not is_over.wait(_SECONDS):
            follower.look()

    thread = threading.Thread(target=follow, daemon=True, name="follow")
    thread.start()
    try:
        yield follower
    finally:
        is_over.set()
        thread.join()
        follower.look(at_once=True)


def _rows(folder: Path) -> list[EpochRecord]:
    """Return a run's rows; none while there are none, or where they cannot be read."""
    try:
        return read_rows(folder / METRICS) if (folder / METRICS).exists() else []
    except RecordError:
        return []


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
