"""How a sweep is seen while it runs: a live display in a terminal, plain lines elsewhere, or nothing."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn
from rich.table import Column

from resdepth.cli.printing import duration, percent
from resdepth.results.metrics import EpochRecord
from resdepth.results.outcome import Outcome
from resdepth.sweep.observer import Observer
from resdepth.sweep.plan import Plan, PlannedRun

_LINE_SECONDS = 2.0
_SHOW_SECONDS = 0.05  # a step of a small net is shorter
_WIDE = 110  # columns


@contextmanager
def open_progress(plan: Plan, *, quiet: bool) -> Iterator[Callable[[], "Observer"]]:
    """A maker of what the runs report to. Other launchers' jobs leave this process: they print lines of their own."""
    if quiet:
        yield Observer
    elif plan.uses_external_launcher or not sys.stdout.isatty():
        shared = None if plan.uses_external_launcher else PlainProgress(total=len(plan.pending))
        yield PlainProgress if shared is None else lambda: shared
    else:
        with LiveProgress(plan) as live:
            yield lambda: live


def _ending(run: PlannedRun, outcome: Outcome, last: EpochRecord | None) -> str:
    """One line on a run that has ended."""
    if last is None or outcome.state == "failed":
        return f"{run.label}: {outcome.state} {outcome.message}".rstrip()
    diverged = f", diverged in epoch {last.epoch}" if outcome.state == "diverged" else ""
    errors = f"training error {percent(last.train_error)}, test error {percent(last.test_error)}"
    return f"{run.label}: {errors}, {duration(outcome.seconds)}{diverged}"


@dataclass
class PlainProgress(Observer):
    """Plain lines, for a pipe, a file or a batch job: at most one every two seconds, and one at each run's end."""

    total: int = 0
    number: int = 0
    _printed: float = field(default_factory=time.monotonic)

    def on_start(self, run: PlannedRun, epochs_done: int) -> None:
        self.number += 1
        done = f", continued after epoch {epochs_done}" if epochs_done else ""
        of = f"[{self.number}/{self.total}] " if self.total else ""
        print(f"{of}{run.label}: {run.parameters:,} parameters, {run.schedule.epochs} epochs{done}", flush=True)

    def on_epoch(self, run: PlannedRun, record: EpochRecord) -> None:
        if time.monotonic() - self._printed < _LINE_SECONDS:
            return
        self._printed = time.monotonic()
        of = f"epoch {record.epoch}/{run.schedule.epochs}"
        errors = f"training error {percent(record.train_error)}, test error {percent(record.test_error)}"
        print(f"  {run.label}: {of}, {errors}, {record.epoch_seconds:.1f} s", flush=True)

    def on_end(self, run: PlannedRun, outcome: Outcome, last: EpochRecord | None) -> None:
        print(_ending(run, outcome, last), flush=True)


class _Bar:
    """What is known of a run under way."""

    def __init__(self, run: PlannedRun, number: int, epochs_done: int, task: TaskID) -> None:
        self.run, self.number, self.task = run, number, task
        self.started = time.monotonic()
        self.first = min(epochs_done * run.schedule.steps_per_epoch, run.schedule.iterations)
        self.iteration = self.first
        self.last_error = ""

    @property
    def share(self) -> float:
        return self.iteration / self.run.schedule.iterations

    @property
    def images_per_second(self) -> float:
        seconds = time.monotonic() - self.started
        return (self.iteration - self.first) * self.run.schedule.batch_size / max(seconds, 1e-9)


class LiveProgress(Observer):
    """Bars that move: one for each run under way (epoch, error, images a second, time left) and one for the sweep."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        text = TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis"))
        left = TextColumn("{task.fields[left]}", markup=False, table_column=Column(no_wrap=True, min_width=11))
        console = Console()
        self._is_wide = console.width >= _WIDE
        bars = [BarColumn(bar_width=24)] if self._is_wide else []
        self._progress = Progress(SpinnerColumn(), text, *bars, left, console=console, expand=False)
        self._active: dict[Path, _Bar] = {}
        # A run weighs as much as the operations it needs.
        self._total = sum(run.total_multiply_adds for run in plan.pending)
        self._done = self._before = 0.0
        self._number = 0
        self._shown = 0.0

    def __enter__(self) -> "LiveProgress":
        self._progress.start()
        self._started = time.monotonic()
        self._sweep_bar = self._progress.add_task("sweep", total=self._total, left="")
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def on_start(self, run: PlannedRun, epochs_done: int) -> None:
        self._number += 1
        task = self._progress.add_task("", total=run.schedule.iterations, left="")
        bar = self._active[run.directory] = _Bar(run, self._number, epochs_done, task)
        # What an earlier sweep did is no measure of this one's speed.
        self._before += run.total_multiply_adds * bar.share
        self._show(bar)

    def on_step(self, run: PlannedRun, iteration: int) -> None:
        bar = self._active[run.directory]
        bar.iteration = iteration
        if time.monotonic() - self._shown >= _SHOW_SECONDS:
            self._show(bar)

    def on_epoch(self, run: PlannedRun, record: EpochRecord) -> None:
        bar = self._active[run.directory]
        bar.last_error = percent(record.train_error, 1)
        self._show(bar)

    def on_end(self, run: PlannedRun, outcome: Outcome, last: EpochRecord | None) -> None:
        self._done += run.total_multiply_adds
        bar = self._active.pop(run.directory, None)
        if bar is not None:
            self._progress.remove_task(bar.task)
        self._progress.console.print(_ending(run, outcome, last), highlight=False, markup=False)
        self._show_sweep()

    def _show(self, bar: _Bar) -> None:
        self._shown = time.monotonic()
        schedule = bar.run.schedule
        epoch = min(-(-max(1, bar.iteration) // schedule.steps_per_epoch), schedule.epochs)
        of, speed = f"run {bar.number} of {len(self._plan.pending)}", f"{bar.images_per_second:,.0f} images/s"
        if self._is_wide:
            error = f", training error {bar.last_error}" if bar.last_error else ""
            text = f"{of}  {bar.run.label}  epoch {epoch} of {schedule.epochs}{error}, {speed}"
        else:
            text = f"{of} {bar.run.label[:14]} ep {epoch}/{schedule.epochs} err {bar.last_error or '-'} {speed}"
        self._progress.update(bar.task, description=text)
        self._move(bar.task, bar.iteration, bar.started, bar.first)
        self._show_sweep()

    def _show_sweep(self) -> None:
        under_way = sum(bar.run.total_multiply_adds * bar.share for bar in self._active.values())
        self._move(self._sweep_bar, self._done + under_way, self._started, self._before)

    def _move(self, task: TaskID, completed: float, started: float, before: float) -> None:
        total = self._progress.tasks[self._progress.task_ids.index(task)].total or 1
        made = completed - before
        seconds = (total - completed) / made * (time.monotonic() - started) if made > 0 else 0
        self._progress.update(task, completed=completed, left=f"{duration(seconds)} left" if seconds else "")
