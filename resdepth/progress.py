"""How a sweep is seen while it runs: a live display in a terminal, plain lines elsewhere, or nothing."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn
from rich.table import Column

from resdepth.display import duration, percent
from resdepth.records import EpochRecord, Outcome
from resdepth.sweep import Plan, PlannedRun

_LINE_SECONDS = 2.0
_WIDE = 110  # columns


@contextmanager
def choose_observer(plan: Plan, *, quiet: bool) -> Iterator[Callable[[], "Observer"]]:
    """A maker of what the runs report to. Other launchers' jobs leave this process: they print lines of their own."""
    leaves_process = any(o.lstrip("+").startswith("hydra/launcher=") and "basic" not in o for o in plan.hydra_overrides)
    if quiet:
        yield Observer
    elif leaves_process or not sys.stdout.isatty():
        shared = None if leaves_process else Lines(total=len(plan.pending))
        yield Lines if shared is None else lambda: shared
    else:
        with Live(plan) as live:
            yield lambda: live


class Observer:
    """Who is told how the runs go. This one says nothing; the others build on it."""

    def began(self, run: PlannedRun, epochs_done: int) -> None: ...
    def stepped(self, iteration: int) -> None: ...
    def recorded(self, record: EpochRecord) -> None: ...
    def ended(self, run: PlannedRun, outcome: Outcome, last: EpochRecord | None) -> None: ...


def _ending(run: PlannedRun, outcome: Outcome, last: EpochRecord | None) -> str:
    """One line on a run that has ended."""
    if last is None or outcome.state == "failed":
        return f"{run.label}: {outcome.state} {outcome.message}".rstrip()
    diverged = f", diverged in epoch {last.epoch}" if outcome.state == "diverged" else ""
    errors = f"training error {percent(last.train_error)}, test error {percent(last.test_error)}"
    return f"{run.label}: {errors}, {duration(outcome.seconds)}{diverged}"


@dataclass
class Lines(Observer):
    """Plain lines, for a pipe, a file or a batch job: at most one every two seconds, and one at each run's end."""

    total: int = 0
    number: int = 0
    _run: PlannedRun | None = None
    _printed: float = field(default_factory=time.monotonic)

    def began(self, run: PlannedRun, epochs_done: int) -> None:
        self.number += 1
        self._run = run
        done = f", continued after epoch {epochs_done}" if epochs_done else ""
        of = f"[{self.number}/{self.total}] " if self.total else ""
        print(f"{of}{run.label}: {run.parameters:,} parameters, {run.schedule.epochs} epochs{done}", flush=True)

    def recorded(self, record: EpochRecord) -> None:
        if self._run is None or time.monotonic() - self._printed < _LINE_SECONDS:
            return
        self._printed = time.monotonic()
        of = f"epoch {record.epoch}/{self._run.schedule.epochs}"
        errors = f"training error {percent(record.train_error)}, test error {percent(record.test_error)}"
        print(f"  {self._run.label}: {of}, {errors}, {record.epoch_seconds:.1f} s", flush=True)

    def ended(self, run: PlannedRun, outcome: Outcome, last: EpochRecord | None) -> None:
        print(_ending(run, outcome, last), flush=True)


class Live(Observer):
    """Two bars that move: the run (epoch, error, images a second, time left) and the sweep."""

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        text = TextColumn("{task.description}", markup=False, table_column=Column(no_wrap=True, overflow="ellipsis"))
        left = TextColumn("{task.fields[left]}", markup=False, table_column=Column(no_wrap=True, min_width=11))
        console = Console()
        self._is_wide = console.width >= _WIDE
        bars = [BarColumn(bar_width=24)] if self._is_wide else []
        self._progress = Progress(SpinnerColumn(), text, *bars, left, console=console, expand=False)
        # A run weighs as much as the operations it needs.
        self._weights = {run.directory: run.multiply_adds * run.schedule.iterations for run in plan.pending}
        self._done = self._before = 0.0
        self._number = 0
        self._images_per_second = 0.0

    def __enter__(self) -> "Live":
        self._progress.start()
        self._started = time.monotonic()
        self._run_bar = self._progress.add_task("", total=1, left="", visible=False)
        self._sweep_bar = self._progress.add_task("sweep", total=sum(self._weights.values()), left="")
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def began(self, run: PlannedRun, epochs_done: int) -> None:
        self._number += 1
        self._run, self._last = run, ""
        self._run_started = time.monotonic()
        self._first = min(epochs_done * run.schedule.steps_per_epoch, run.schedule.iterations)
        self._iteration = self._first
        # What an earlier sweep did is no measure of this one's speed.
        self._before += self._weights[run.directory] * self._first / run.schedule.iterations
        self._progress.update(self._run_bar, total=run.schedule.iterations, completed=self._first, visible=True)
        self._show()

    def stepped(self, iteration: int) -> None:
        self._iteration = iteration
        seconds = time.monotonic() - self._run_started
        self._images_per_second = (iteration - self._first) * self._run.schedule.batch_size / max(seconds, 1e-9)
        self._show()

    def recorded(self, record: EpochRecord) -> None:
        self._last = percent(record.train_error, 1)
        self._show()

    def ended(self, run: PlannedRun, outcome: Outcome, last: EpochRecord | None) -> None:
        self._done += self._weights[run.directory]
        self._iteration = 0
        self._progress.update(self._run_bar, visible=False)
        self._progress.console.print(_ending(run, outcome, last), highlight=False, markup=False)
        self._bar(self._sweep_bar, self._done, self._started, self._before)

    def _show(self) -> None:
        run, schedule = self._run, self._run.schedule
        epoch = min(-(-max(1, self._iteration) // schedule.steps_per_epoch), schedule.epochs)
        of, speed = f"run {self._number} of {len(self._plan.pending)}", f"{self._images_per_second:,.0f} images/s"
        if self._is_wide:
            error = f", training error {self._last}" if self._last else ""
            text = f"{of}  {run.label}  epoch {epoch} of {schedule.epochs}{error}, {speed}"
        else:
            text = f"{of} {run.label[:14]} ep {epoch}/{schedule.epochs} err {self._last or '-'} {speed}"
        self._progress.update(self._run_bar, description=text)
        self._bar(self._run_bar, self._iteration, self._run_started, self._first)
        share = self._weights[run.directory] * self._iteration / schedule.iterations
        self._bar(self._sweep_bar, self._done + share, self._started, self._before)

    def _bar(self, bar: TaskID, completed: float, started: float, before: float) -> None:
        total = self._progress.tasks[bar].total or 1
        made = completed - before
        seconds = (total - completed) / made * (time.monotonic() - started) if made > 0 else 0
        self._progress.update(bar, completed=completed, left=f"{duration(seconds)} left" if seconds else "")
