"""Several runs side by side on a CPU: a process for each, with one thread.

Nets this small leave cores idle between their layers: two runs with one thread each are faster than one after the other
with two. Each process is forked from one that has loaded torch and done nothing else, so that it starts at once, has no
threads to inherit, and takes no other run with it when it is killed.
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

# Fork is unsafe where torch has threads; where there is no fork server a process takes seconds to start.
_METHOD = "forkserver" if sys.platform.startswith("linux") else "spawn"
_REPORT_SECONDS = 0.1
# A signal must end a sweep within 5 seconds.
_GRACE_SECONDS = 3.0


def context() -> Any:
    """How processes are started."""
    return multiprocessing.get_context(_METHOD)


def prepare() -> None:
    """Begin to load torch in the background, for the processes to come."""
    if _METHOD == "forkserver":
        from multiprocessing import forkserver

        context().set_forkserver_preload(["resdepth.sweep.run"])
        forkserver.ensure_running()


def train_in_processes(runs: Sequence[PlannedRun], concurrency: int, observer: Observer) -> list[Outcome]:
    """Train the runs, `concurrency` side by side, the longest first; their outcomes, in order.

    `observer` hears of all of them here. Whatever ends this function ends its processes.
    """
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
            for ready in wait(list(active)):
                connection = cast(Connection, ready)
                outcome = active[connection].listen(observer)
                if outcome is not None:
                    outcomes[active.pop(connection).number] = outcome
    finally:
        _end(list(active.values()))
    return [outcomes[number] for number in range(len(runs))]


class _Worker:
    """A process that trains one run and reports through a pipe."""

    def __init__(self, number: int, run: PlannedRun) -> None:
        self.number, self._run = number, run
        self._started = time.perf_counter()
        self.connection, far = multiprocessing.Pipe(duplex=False)
        self.process: BaseProcess = context().Process(
            target=_train, args=(run, sources.load(run.config.data), far), name=run.label, daemon=True
        )
        self.process.start()
        # So that the end of the process is the end of what can be read.
        far.close()

    def listen(self, observer: Observer) -> Outcome | None:
        """Pass on one message of the run; its outcome, if that was the last."""
        try:
            event, *values = self.connection.recv()
        except (EOFError, OSError):
            outcome = self._killed()
            observer.on_end(self._run, outcome, None)
        else:
            getattr(observer, event)(self._run, *values)
            if event != "on_end":
                return None
            outcome = values[0]
        self.connection.close()
        self.process.join()
        return outcome

    def _killed(self) -> Outcome:
        self.process.join()
        code = self.process.exitcode or 0
        how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        message = f"its process {how}; say the same command again, which continues the run"
        return Outcome("failed", time.perf_counter() - self._started, message)


def _end(workers: Sequence[_Worker]) -> None:
    for worker in workers:
        worker.process.terminate()
    end = time.monotonic() + _GRACE_SECONDS
    for worker in workers:
        worker.process.join(max(0.0, end - time.monotonic()))
        if worker.process.is_alive():
            worker.process.kill()
            worker.process.join()


class PipeObserver(Observer):
    """Tells the process that started this one; ends this one when nobody listens any more."""

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

    def _send(self, *message: Any) -> None:
        try:
            self._connection.send(message)
        except OSError:
            # Not an outcome of the run: it is broken off, as by a kill.
            raise SystemExit(1) from None


def _train(run: PlannedRun, data: Dataset, connection: Connection) -> None:
    """What a process does."""
    import torch

    from resdepth.sweep.run import train_run

    # Ctrl-C reaches every process of a terminal; the first one decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _leave)
    torch.set_num_threads(1)
    sources.preload(run.config.data, data)
    train_run(run, PipeObserver(connection))


def _leave(_number: int, _frame: object) -> None:
    raise SystemExit(1)
