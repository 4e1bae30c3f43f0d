"""Several runs or probes at once on a CPU, each in a process of its own, with one thread unless `threads` is set.

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
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import TYPE_CHECKING, Any, cast

from resdepth.data import sources
from resdepth.data.dataset import Dataset
from resdepth.host import sigint_blocked
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
_GRACE_SECONDS = 3.0  # a signal must end a sweep within 5


def context() -> Any:
    """Return the multiprocessing context that starts the processes."""
    return multiprocessing.get_context(_METHOD)


def prepare() -> None:
    """Start to load torch in the background, for the processes to come."""
    if _METHOD == "forkserver":
        from multiprocessing import forkserver, resource_tracker

        context().set_forkserver_preload(["resdepth.sweep.run"])
        # Before, because its start unblocks Ctrl-C.
        resource_tracker.ensure_running()
        with sigint_blocked():
            forkserver.ensure_running()


@dataclass(frozen=True)
class Ended:
    """The end of a process: how it ended, in words, and after how many seconds."""

    how: str
    seconds: float


def call_in_processes(
    function: Callable[..., None], tasks: Iterable[tuple[Any, ...]], concurrency: int
) -> Generator[tuple[int, Any], None, None]:
    """Call `function(*task, connection)` in a process for each task, `concurrency` at once, in the tasks' order.

    Yields (number of the task, message) for every message sent through its connection, and last (number, `Ended`). The
    processes that are active are ended when the generator is closed.
    """
    prepare()
    waiting = enumerate(tasks)
    active: dict[Connection, _Worker] = {}
    try:
        while True:
            for number, task in itertools.islice(waiting, concurrency - len(active)):
                worker = _Worker(number, function, task)
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

    def __init__(self, number: int, function: Callable[..., None], task: tuple[Any, ...]) -> None:
        self.number = number
        self._started = time.perf_counter()
        self.connection, there = multiprocessing.Pipe()
        self.process: BaseProcess = context().Process(target=_call, args=(there,), daemon=True)
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
    """Train a group's runs in processes, the longest first; `observer` receives their events here."""
    runs, order = group.runs, longest_first(group.runs)
    outcomes: dict[int, Outcome] = {}
    tasks = ((runs[i], sources.load(runs[i].config.data), group.threads) for i in order)
    with contextlib.closing(call_in_processes(_train, tasks, group.concurrency)) as messages:
        for number, message in messages:
            i = order[number]
            if isinstance(message, Ended) and i in outcomes:
                continue
            event, *values = _as_failure(message) if isinstance(message, Ended) else message
            getattr(observer, event)(runs[i], *values)
            if event == "on_end":
                outcomes[i] = values[0]
    return [outcomes[i] for i in range(len(runs))]


def _as_failure(end: Ended) -> tuple[Any, ...]:
    """Return the event of a run whose process ended without an outcome."""
    message = f"its process {end.how}; run the same command again, which continues the run"
    return "on_end", Outcome("failed", end.seconds, message), None


class PipeObserver(Observer):
    """Sends events to the process that started this one; ends this one when the receiver is gone."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._reported = 0.0

    def on_start(self, run: PlannedRun, epochs_done: int) -> None:
        self._send("on_start", epochs_done)

    def on_step(self, run: PlannedRun, iteration: int) -> None:
        if time.monotonic() - self._reported >= _REPORT_SECONDS:
            self._reported = time.monotonic()
            self._send("on_step", iteration)

    def on_epoch(self, run: PlannedRun, record: EpochRecord) -> None:
        self._send("on_epoch", record)

    def on_end(self, run: PlannedRun, outcome: Outcome, last: EpochRecord | None) -> None:
        self._send("on_end", outcome, last)

    def _send(self, *event: Any) -> None:
        try:
            self._connection.send(event)
        except OSError:
            # Not an outcome: the run is interrupted, as by a kill.
            raise SystemExit(1) from None


def _train(run: PlannedRun, data: Dataset, threads: int | None, connection: Connection) -> None:
    """Train one run; what its process does."""
    from resdepth import device as devices
    from resdepth.sweep.run import train_run

    sources.preload(run.config.data, data)
    with devices.threads(threads, pinned=False):  # other runs share the cores
        train_run(run, PipeObserver(connection))
