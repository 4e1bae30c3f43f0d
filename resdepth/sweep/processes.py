"""Several runs or probes at once on a CPU, each in a process of its own; or a process for the runs of each GPU.

Nets this small leave cores idle between their layers: two runs with one thread each are faster than one after the other
with two. Each process is forked from one that has only loaded torch, so that it starts at once and inherits no threads;
when it is killed, the other runs go on.
"""

import contextlib
import itertools
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from resdepth.data import sources
from resdepth.data.dataset import Dataset
from resdepth.host import signals_blocked
from resdepth.models.plugins import activate, active_plugins
from resdepth.results.metrics import EpochRecord
from resdepth.results.outcome import Outcome
from resdepth.sweep.observer import Observer
from resdepth.sweep.plan import PlannedRun, longest_first

if TYPE_CHECKING:
    # It loads torch, which this process and the fork server do at the same time.
    from resdepth.sweep.groups import Group

# Fork is unsafe once torch has threads; without a fork server a process takes seconds to start.
_METHOD = "forkserver" if sys.platform.startswith("linux") else "spawn"
_REPORT_SECONDS = 0.1
# A signal must end a sweep within 5 seconds; Slurm leaves a job more, and its file server may be slow.
_GRACE_SECONDS = 60.0 if "SLURM_JOB_ID" in os.environ else 3.0


def context() -> Any:
    """Return the multiprocessing context that starts the processes."""
    return multiprocessing.get_context(_METHOD)


def prepare() -> None:
    """Start to load torch in the background, for the processes to come."""
    if _METHOD == "forkserver":
        from multiprocessing import forkserver, resource_tracker

        context().set_forkserver_preload(["resdepth.sweep.run"])
        with signals_blocked():
            resource_tracker.ensure_running()  # it unblocks Ctrl-C
        with signals_blocked():
            forkserver.ensure_running()


@dataclass(frozen=True)
class Ended:
    """The end of a process: how it ended, in words, and after how many seconds."""

    how: str
    seconds: float


def call_in_processes(
    function: Callable[..., None], tasks: Iterable[tuple[Any, ...]], concurrency: int, *, daemonic: bool = True
) -> Generator[tuple[int, Any], None, None]:
    """Call `function(*task, connection)` in a process for each task, `concurrency` at once, in the tasks' order.

    Yields (number of the task, message) for every message sent through its connection, and last (number, `Ended`). The
    processes that are active are ended when the generator is closed. A daemonic one may not start any of its own.
    """
    prepare()
    waiting = enumerate(tasks)
    active: dict[Connection, _Worker] = {}
    try:
        while True:
            for number, task in itertools.islice(waiting, concurrency - len(active)):
                worker = _Worker(number, function, task, daemonic=daemonic)
                active[worker.connection] = worker
            if not active:
                return
            for connection in cast(list[Connection], wait(list(active))):
                message = active[connection].receive()
                if isinstance(message, Ended):
                    number = active.pop(connection).number
                    yield number, message
                else:
                    yield active[connection].number, message
    finally:
        for worker in active.values():
            worker.process.terminate()
        end = time.monotonic() + _GRACE_SECONDS
        for worker in active.values():
            worker.process.join(max(0.0, end - time.monotonic()))
            worker.process.kill()
            worker.process.join()


class _Worker:
    """A process that works on one task and reports through a pipe."""

    def __init__(self, number: int, function: Callable[..., None], task: tuple[Any, ...], *, daemonic: bool) -> None:
        self.number = number
        self._started = time.perf_counter()
        self.connection, there = multiprocessing.Pipe()
        self.process: BaseProcess = context().Process(target=_call, args=(there,), daemon=daemonic)
        self.process.start()
        # So that the pipe is closed when the process ends.
        there.close()
        # Not as an argument: of a program that is stopped meanwhile, the process would get half of it, and complain.
        self.connection.send((active_plugins(), function, task))

    def receive(self) -> Any:
        """Return a message, or `Ended`."""
        try:
            return self.connection.recv()
        except (EOFError, OSError):
            self.connection.close()
            self.process.join()
            code = self.process.exitcode or 0
            how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
            return Ended(how, time.perf_counter() - self._started)


def _call(connection: Connection) -> None:
    """Call the function that is received with its task, with one thread; what a process executes."""
    import torch

    # Ctrl-C reaches every process of a terminal; the one that started the others handles it and ends them.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "SIGHUP"):  # of a closed terminal
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    torch.set_num_threads(1)
    try:
        plugins, function, task = connection.recv()
    except (EOFError, OSError):
        return  # the program has ended
    activate(plugins)
    threading.Thread(target=_exit_when_closed, args=(connection,), daemon=True).start()
    function(*task, connection)


def _exit_when_closed(connection: Connection) -> None:
    """End this process when the program that reads from it has ended, however that was killed."""
    with contextlib.suppress(EOFError, OSError):
        connection.recv()
    os._exit(1)


def train_in_processes(group: "Group", observer: Observer) -> list[Outcome]:
    """Train a group's runs in processes, one per run, the longest first, or one per device; observe them here."""
    order = longest_first(group.runs)
    units = [(part.runs, part.concurrency) for part in group.parts] or [((group.runs[i],), 1) for i in order]
    tasks = ((runs, sources.load(runs[0].config.data), at_once, group.threads) for runs, at_once in units)
    # A process that compiles for a GPU starts compilers.
    called = call_in_processes(_train, tasks, len(group.parts) or group.concurrency, daemonic=not group.parts)
    outcomes: dict[Path, Outcome] = {}
    with contextlib.closing(called) as messages:
        for number, message in messages:
            runs = units[number][0]
            events = [message]
            if isinstance(message, Ended):
                events = [
                    ("on_end", i, _failure(message), None) for i, r in enumerate(runs) if r.directory not in outcomes
                ]
            for event, i, *values in events:
                getattr(observer, event)(runs[i], *values)
                if event == "on_end":
                    outcomes[runs[i].directory] = values[0]
    return [outcomes[run.directory] for run in group.runs]


def _failure(end: Ended) -> Outcome:
    """Return the outcome of a run whose process ended without one."""
    message = f"its process {end.how}; run the same command again, which continues the run"
    return Outcome("failed", end.seconds, message)


class PipeObserver(Observer):
    """Sends the events of runs, with their numbers, to the process that started this one; ends this one without it."""

    def __init__(self, runs: Sequence[PlannedRun], connection: Connection) -> None:
        self._numbers = {run.directory: number for number, run in enumerate(runs)}
        self._connection = connection
        self._reported = dict.fromkeys(self._numbers, 0.0)

    def on_start(self, run: PlannedRun, epochs_done: int) -> None:
        self._send("on_start", run, epochs_done)

    def on_step(self, run: PlannedRun, iteration: int) -> None:
        if time.monotonic() - self._reported[run.directory] >= _REPORT_SECONDS:
            self._reported[run.directory] = time.monotonic()
            self._send("on_step", run, iteration)

    def on_epoch(self, run: PlannedRun, record: EpochRecord) -> None:
        self._send("on_epoch", run, record)

    def on_end(self, run: PlannedRun, outcome: Outcome, last: EpochRecord | None) -> None:
        self._send("on_end", run, outcome, last)

    def _send(self, event: str, run: PlannedRun, *values: Any) -> None:
        try:
            self._connection.send((event, self._numbers[run.directory], *values))
        except OSError:
            # Not an outcome: the run is interrupted, as by a kill.
            raise SystemExit(1) from None


def _train(
    runs: tuple[PlannedRun, ...], data: Dataset, concurrency: int, threads: int | None, connection: Connection
) -> None:
    """Train runs of one device; what their process does. `data` is the data set of the first."""
    from resdepth import device as devices
    from resdepth.sweep.run import train_interleaved

    sources.preload(runs[0].config.data, data)
    with devices.threads(threads, pinned=False):  # other runs share the cores
        train_interleaved(runs, concurrency, PipeObserver(runs, connection))
