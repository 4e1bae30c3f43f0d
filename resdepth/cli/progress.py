"""Progress displays: live bars in a terminal, plain lines elsewhere; a bar while many runs are read."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Column

from resdepth.cli.printing import duration, percent
from resdepth.report.comparison import count
from resdepth.results.metrics import EpochRecord
from resdepth.results.outcome import Outcome
from resdepth.sweep.observer import Observer

if TYPE_CHECKING:
    from resdepth.probes.nets import ProbedNet
    from resdepth.sweep.plan import Plan, PlannedRun

_LINE_SECONDS = 2.0  # between plain lines of a probe, and at least between those of a sweep
# A sweep prints its state at intervals of that share of its time, so that a long one fills no disk.
_LINES_PER_SWEEP = 50
_MOST_LINES = 20  # at once; of more runs, only their number

_LEFT = 12  # columns of the time left
_SHOW_SECONDS = 0.05  # between updates of the bars: a step of a small net is shorter


def track_reading(folders: Sequence[Path]) -> Iterator[Path]:
    """Yield the folders; in a terminal, show a progress bar on standard error if they take more than two seconds."""
    console = Console(stderr=True)
    if not (console.is_interactive and console.file.isatty()):
        yield from folders
        return
    text = TextColumn("reading {task.completed:,.0f} of {task.total:,.0f} runs")
    progress = Progress(text, BarColumn(), TimeRemainingColumn(), console=console, transient=True)
    task, started = progress.add_task("", total=len(folders)), time.monotonic()
    try:
        for folder in folders:
            if time.monotonic() - started > 2:
                progress.start()
            yield folder
            progress.advance(task)
    finally:
        progress.stop()


@contextmanager
def track_nets(total: int, *, quiet: bool) -> Iterator[Callable[[ProbedNet], None]]:
    """Yield what is called after each net of a probe: it moves a bar in a terminal, elsewhere it prints lines."""
    console, done, printed = Console(), 0, time.monotonic()
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=console, transient=True, disable=quiet or not sys.stdout.isatty())
    task = bar.add_task("measuring", total=total)

    def on_net(net: ProbedNet) -> None:
        nonlocal done, printed
        done += 1
        text = f"{done} of {total} nets, {net.label}"
        bar.update(task, completed=done, description=text)
        if bar.disable and not quiet and time.monotonic() - printed > _LINE_SECONDS:
            printed = time.monotonic()
            print(text, flush=True)

    with bar:
        yield on_net


@contextmanager
def open_progress(plan: Plan, *, quiet: bool) -> Iterator[Observer]:
    """Yield the display of a sweep: live bars in a terminal, plain lines elsewhere."""
    if quiet:
        yield Observer()
    elif sys.stdout.isatty():
        live = LiveProgress(plan)
        with live.display:
            yield live
    else:
        yield PlainProgress(total=len(plan.pending))


def _format_end(run: PlannedRun, outcome: Outcome, last: EpochRecord | None) -> str:
    """Return one line on a run that has ended; `last` is its last row."""
    if last is None or outcome.state == "failed":
        return f"{run.label}: {outcome.state}" + (f": {outcome.message}" if outcome.message else "")
    diverged = f", diverged in epoch {last.epoch}" if outcome.state == "diverged" else ""
    errors = f"training error {percent(last.train_error)}, test error {percent(last.test_error)}"
    return f"{run.label}: {errors}, {duration(outcome.seconds)}{diverged}"


def _format_left(started: float, done: float, left: float) -> str:
    """Return the time left at the mean speed since `started`; empty before anything is done and at the end."""
    return f"{duration(left / done * (time.monotonic() - started))} left" if done > 0 and left > 0 else ""


@dataclass
class PlainProgress(Observer):
    """Plain lines for a pipe, a file or a batch job: at each run's start and end, and at intervals one of each run."""

    total: int = 0
    number: int = 0
    _started: float = field(default_factory=time.monotonic)
    _printed: float = field(default_factory=time.monotonic)
    _asked: float = 0.0
    _jobs: str = ""
    _ended: int = 0
    # The last epoch of each active run since the lines before.
    _latest: dict[Path, tuple[PlannedRun, EpochRecord]] = field(default_factory=dict)
    _done: dict[Path, int] = field(default_factory=dict)  # epochs of earlier sweeps

    def on_start(self, run: PlannedRun, epochs_done: int) -> None:
        self.number += 1
        self._done[run.directory] = epochs_done
        done = f", continued after epoch {epochs_done}" if epochs_done else ""
        of = f"[{self.number}/{self.total}] " if self.total else ""
        epochs = count(run.schedule.epochs, "epoch")
        print(f"{of}{run.label}: {run.parameters:,} parameters, {epochs}{done}", flush=True)

    def on_epoch(self, run: PlannedRun, record: EpochRecord) -> None:
        # The first record of a run that is continued is an earlier sweep's last.
        if record.epoch > self._done.get(run.directory, 0):
            self._latest[run.directory] = run, record
        now = time.monotonic()
        if now - self._printed < max(_LINE_SECONDS, (now - self._started) / _LINES_PER_SWEEP):
            return
        self._printed = now
        if len(self._latest) > _MOST_LINES:
            print(
                f"  {len(self._latest):,} runs are being trained, {self._ended:,} of {self.total:,} have ended",
                flush=True,
            )
            self._latest.clear()
        for one, latest in self._latest.values():
            errors = f"training error {percent(latest.train_error)}, test error {percent(latest.test_error)}"
            of = f"epoch {latest.epoch}/{one.schedule.epochs}"
            print(f"  {one.label}: {of}, {errors}, {latest.epoch_seconds:.1f} s", flush=True)
        self._latest.clear()

    def on_end(self, run: PlannedRun, outcome: Outcome, last: EpochRecord | None) -> None:
        self._latest.pop(run.directory, None)
        self._ended += 1
        print(_format_end(run, outcome, last), flush=True)

    def on_wait(self, jobs: str) -> None:
        now = time.monotonic()
        if jobs and jobs != self._jobs and now - self._asked >= (now - self._started) / _LINES_PER_SWEEP:
            self._jobs, self._asked = jobs, now
            print(jobs, flush=True)


@dataclass
class _Bar:
    """Progress of an active run, of which an earlier sweep may have done the first minibatches."""

    run: PlannedRun
    title: str
    task: TaskID
    first: int
    iteration: int
    is_shown: bool = True
    error: str = "-"
    started: float = field(default_factory=time.monotonic)

    @property
    def multiply_adds(self) -> float:
        return self.run.total_multiply_adds * self.iteration / self.run.schedule.iterations


class LiveProgress(Observer):
    """Live bars in `display`: one for each active run (epoch, error, images/s, time left), and one for the sweep."""

    def __init__(self, plan: Plan) -> None:
        self._runs, self._number = len(plan.pending), 0
        self._active: dict[Path, _Bar] = {}
        # The sweep is measured in multiply-adds: of all runs, of those that have ended, of what an earlier sweep did.
        self._total = sum(run.total_multiply_adds for run in plan.pending)
        self._done = self._before = self._shown = 0.0
        console = Console()
        bar_width = 16 if console.width >= 110 else 10
        self._room = console.width - 2 - bar_width - _LEFT - 3  # columns of text beside spinner, bar, time and spaces
        self._most = max(3, console.height // 2 - 2)  # bars; a text takes up to two lines
        self._jobs = ""
        # A name that is too long is folded, so that it is shown as a whole.
        text = TextColumn("{task.description}", markup=False, table_column=Column(overflow="fold", ratio=1))
        left = TextColumn("{task.fields[left]}", markup=False, table_column=Column(no_wrap=True, min_width=_LEFT))
        bar = BarColumn(bar_width=bar_width)
        self.display = Progress(SpinnerColumn(), text, bar, left, console=console, expand=True)
        self._sweep, self._started = self.display.add_task("sweep", total=self._total, left=""), time.monotonic()

    def on_start(self, run: PlannedRun, epochs_done: int) -> None:
        self._number += 1
        is_shown = sum(bar.is_shown for bar in self._active.values()) < self._most
        task = self.display.add_task("", total=run.schedule.iterations, left="", visible=is_shown)
        first = min(epochs_done * run.schedule.steps_per_epoch, run.schedule.iterations)
        title = f"run {self._number} of {self._runs}"
        bar = self._active[run.directory] = _Bar(run, title, task, first, first, is_shown)
        # The time an earlier sweep took is unknown, so its work must not count towards the speed.
        self._before += bar.multiply_adds
        self._show(bar)

    def on_step(self, run: PlannedRun, iteration: int) -> None:
        bar = self._active[run.directory]
        bar.iteration = iteration
        if time.monotonic() - self._shown >= _SHOW_SECONDS:
            self._show(bar)

    def on_epoch(self, run: PlannedRun, record: EpochRecord) -> None:
        bar = self._active[run.directory]
        bar.error = percent(record.train_error, 1)
        self._show(bar)

    def on_end(self, run: PlannedRun, outcome: Outcome, last: EpochRecord | None) -> None:
        self._done += run.total_multiply_adds
        bar = self._active.pop(run.directory, None)
        if bar is not None:
            self.display.remove_task(bar.task)
        hidden = next((other for other in self._active.values() if not other.is_shown), None)
        if hidden is not None and (bar is None or bar.is_shown):
            hidden.is_shown = True
            self.display.update(hidden.task, visible=True)
        self.display.console.print(_format_end(run, outcome, last), highlight=False, markup=False)
        self._show_sweep()

    def on_wait(self, jobs: str) -> None:
        self._jobs = jobs
        self._show_sweep()

    def _show(self, bar: _Bar) -> None:
        self._shown = time.monotonic()
        label, schedule, made = bar.run.label, bar.run.schedule, bar.iteration - bar.first
        epoch = -(-max(1, bar.iteration) // schedule.steps_per_epoch)
        speed = f"{made * schedule.batch_size / max(self._shown - bar.started, 1e-9):,.0f} images/s"
        text = f"{bar.title}  {label}  epoch {epoch} of {schedule.epochs}, training error {bar.error}, {speed}"
        if len(text) > self._room:
            state = f"epoch {epoch}/{schedule.epochs}, error {bar.error}"
            # Folded, a long line would break within a word.
            text = f"{label}{'  ' if len(label) + len(state) < self._room else chr(10)}{state}"
        left = _format_left(bar.started, made, schedule.iterations - bar.iteration)
        self.display.update(bar.task, description=text, completed=bar.iteration, left=left)
        self._show_sweep()

    def _show_sweep(self) -> None:
        done = self._done + sum(bar.multiply_adds for bar in self._active.values())
        left = _format_left(self._started, done - self._before, self._total - done)
        hidden = sum(not bar.is_shown for bar in self._active.values())
        more = f"{hidden} more {'run is' if hidden == 1 else 'runs are'} being trained" if hidden else ""
        text = "  ".join(part for part in ("sweep", self._jobs, more) if part)
        self.display.update(self._sweep, description=text, completed=done, left=left)
