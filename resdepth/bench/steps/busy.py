"""Time of a training step beside a process that keeps a core busy: with pinned threads, and without."""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from resdepth import device as devices
from resdepth.bench.rows import BusyCost
from resdepth.sweep.plan import RunSpec
from resdepth.sweep.preflight import timed_trainers, timing_data
from resdepth.training.timing import windows

# Of a step beside a busy process: rounds, in which every state is timed once, and seconds.
_ROUNDS, _SECONDS, _START_SECONDS = 3, 1.5, 0.2
_LOOP = "import os, sys\nwhile os.getppid() == int(sys.argv[1]):\n  for _ in range(10**6): pass"


def measure_busy(spec: RunSpec) -> tuple[BusyCost, BusyCost]:
    """Time a step on the idle machine and beside a process that keeps one core busy: with pinned threads, and without.

    The four are timed in turns, so that all of them see the same machine.
    """
    device, config = devices.resolve(spec.config.device), spec.config
    devices.set_precision(config.precision, device)
    data, count = timing_data(spec, device), config.thread_count
    times: dict[tuple[bool, bool], list[float]] = {(b, p): [] for b in (True, False) for p in (True, False)}
    with timed_trainers(spec, 1, data) as trainers:
        for _ in range(_ROUNDS):
            for (is_busy, is_pinned), seconds in times.items():
                with _rival(is_busy=is_busy), devices.threads(count, pinned=is_pinned):
                    time.sleep(_START_SECONDS)
                    threads, started = torch.get_num_threads(), time.perf_counter()
                    steps = windows(trainers, 1)
                    next(steps)
                    while time.perf_counter() - started < _SECONDS or not seconds:
                        seconds.append(next(steps))
    return _row(spec, threads, times, is_pinned=True), _row(spec, threads, times, is_pinned=False)


@contextmanager
def _rival(*, is_busy: bool) -> Iterator[None]:
    """Run a process, busy or not, until the `with` block or this program ends; Ctrl-C does not reach it."""
    command = [sys.executable, "-c", _LOOP if is_busy else "", str(os.getpid())]
    with subprocess.Popen(command, start_new_session=True) as process:
        try:
            yield
        finally:
            process.kill()


def _row(spec: RunSpec, threads: int, times: dict[tuple[bool, bool], list[float]], *, is_pinned: bool) -> BusyCost:
    idle, busy = times[False, is_pinned], times[True, is_pinned]
    return BusyCost(
        device=devices.device_name(devices.resolve(spec.config.device)),
        data=spec.config.data.name,
        variant=spec.config.variant,
        depth=spec.config.depth,
        threads=threads,
        pinned=is_pinned,
        steps=min(len(idle), len(busy)),
        idle_ms=1e3 * statistics.median(idle),
        busy_ms=1e3 * statistics.median(busy),
    )
