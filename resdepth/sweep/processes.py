"""Several runs at once on a CPU, each in a process of its own with one thread.

Nets this small leave cores idle between their layers: two runs with one thread each are faster than one after the other
with two. Each process is forked from one that has only loaded torch, so that it starts at once and inherits no threads;
when it is killed, the other runs go on.
"""

import multiprocessing
import signal
import sys
import time
from collections import deque
from collections.abc import Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, cast

from resdepth.data import sources
from resdepth.data.dataset import Dataset
from resdepth.results.metrics import EpochRecord
from resdepth.results.outcome import Outcome
from resdepth.sweep.observer import Observer
from resdepth.sweep.plan import PlannedRun, longest_first

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
        from multiprocessing import forkserver

        context().set_forkserver_preload(["resdepth.sweep.run"])
        forkserver.ensure_running()


def train_in_processes(runs: Sequence[PlannedRun], concurrency: int, observer: Observer) -> list[Outcome]:
    """Train the runs in processes, `concurrency` at once, the longest first; `observer` receives their events here."""
    prepare()
    outcomes: dict[int, Outcome] = {}
    waiting = deque(longest_first(runs))
    active: dict[Connection, _Worker] = {}
    try:
        while active or waiting:
            while waiting and len(active) < concurrency:
                worker = _Worker(waiting[0], runs[waiting[0]])
                active[worker.connection] = worker
                waiting.popleft()
            for connection in cast(list[Connection], wait(list(active))):
                outcome = active[connection].receive(observer)
                if outcome is not None:
                    outcomes[active.pop(connection).number] = outcome
    finally:
        for worker in active.values():
            worker.process.terminate()
        end = time.monotonic() + _GRACE_SECONDS
        for worker in active.values():
            worker.process.join(max(0.0, end - time.monotonic()))
            worker.process.kill()
            worker.process.join()
    return [outcomes[number] for number in range(len(runs))]


class _Worker:
    """A process that trains one run and reports through a pipe."""

    def __init__(self, number: int, run: PlannedRun) -> None:
        self.number, self._run = number, run
        self._started = time.perf_counter()
        self.connection, sender = multiprocessing.Pipe(duplex=False)
        self.process: BaseProcess = context().Process(
            target=_train, args=(run, sources.load(run.config.data), sender), name=run.label, daemon=True
        )
        self.process.start()
        # So that the pipe is closed when the process ends.
        sender.close()

    def receive(self, observer: Observer) -> Outcome | None:
        """Pass one event on to the observer; return the outcome if it was the last."""
        try:
            event, *values = self.connection.recv()
        except (EOFError, OSError):
            self.process.join()
            code = self.process.exitcode or 0
            how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
            message = f"its process {how}; run the same command again, which continues the run"
            event, values = "on_end", [Outcome("failed", time.perf_counter() - self._started, message), None]
        getattr(observer, event)(self._run, *values)
        if event != "on_end":
            return None
        self.connection.close()
        self.process.join()
        return cast(Outcome, values[0])


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


def _train(run: PlannedRun, data: Dataset, connection: Connection) -> None:
    """Train one run; the function that a process executes."""
    import torch

    from resdepth.sweep.run import train_run

    # Ctrl-C reaches every process of a terminal; the one that started the others handles it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    torch.set_num_threads(1)
    sources.preload(run.config.data, data)
    train_run(run, PipeObserver(connection))
