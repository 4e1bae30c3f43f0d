"""What a job of an external launcher does: check its device, and train its runs, on whatever machine it is."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import Any

import torch

from resdepth import device as devices
from resdepth.errors import ConfigError, RecordError
from resdepth.host import cores
from resdepth.models.plugins import Plugin, activate
from resdepth.results.files.lock import is_locked
from resdepth.results.outcome import Outcome
from resdepth.results.run_directory import RunState, read_state
from resdepth.sweep.groups import Group, make_groups
from resdepth.sweep.jobs.submission import read_job
from resdepth.sweep.observer import Observer
from resdepth.sweep.plan import PlannedRun
from resdepth.sweep.preflight import require_devices
from resdepth.sweep.processes import train_in_processes
from resdepth.sweep.run import record_failure, train_interleaved

# A file server may take as long to release the locks of a node that failed.
_STALE_LOCK_SECONDS = 180.0


@dataclass(frozen=True)
class Task:
    """What a job does: train the runs of its number in `folder`. Returns the outcomes by directory; picklable.

    `place`: the folder in which the command was given, to which the runs' directories are relative.
    """

    folder: Path
    place: Path
    plugins: tuple[Plugin, ...]

    def __call__(self, config: Any) -> dict[Path, Outcome]:
        os.chdir(self.place)
        activate(self.plugins)
        if "SLURM_JOB_ID" in os.environ:
            _heed_slurm()
        return train_job(read_job(self.folder, config.job))


def train_job(runs: Sequence[PlannedRun]) -> dict[Path, Outcome]:
    """Train those of a job's runs that have no result yet; a job that is requeued does so again. Silent."""
    # The data were downloaded before the first job.
    runs = [replace(run, config=replace(run.config, data=replace(run.config.data, download=False))) for run in runs]
    outcomes: dict[Path, Outcome] = {}
    pending = []
    for run in runs:
        try:
            if read_state(run.directory, run.config) is not RunState.FINISHED:
                require_devices([run])
                pending.append(run)
        except (ConfigError, RecordError) as error:
            outcomes[run.directory] = record_failure(run, error)
    if int(os.environ.get("SLURM_RESTART_COUNT", "0")):
        _await_locks(pending)
    for group in make_groups(runs, pending):
        outcomes.update(zip((run.directory for run in group.runs), train_group(group, Observer()), strict=True))
    return outcomes


def train_group(group: Group, observer: Observer) -> list[Outcome]:
    """Train a group's runs on this machine; return their outcomes in its order."""
    if group.uses_processes:
        return train_in_processes(group, observer)
    with devices.threads(group.threads, pinned=group.pins_threads):
        return train_interleaved(group.runs, group.concurrency, observer)


def _await_locks(runs: Sequence[PlannedRun]) -> None:
    """Wait for the locks that a failed node may have left, of which the file server has not noticed that it is gone."""
    end = time.monotonic() + _STALE_LOCK_SECONDS
    while any(is_locked(run.directory) for run in runs) and time.monotonic() < end:
        time.sleep(1)


def _heed_slurm() -> None:
    """Use no more threads than Slurm allots, and leave a checkpoint at whatever signal it sends.

    submitit answers the signal before the time limit by requeueing the job, and raises where it may not; within a run
    that would look like the run's own failure. It ignores SIGTERM, which announces the end of a preempted job.
    """
    torch.set_num_threads(min(torch.get_num_threads(), cores()))
    if threading.current_thread() is not threading.main_thread():
        return
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    for number in (signal.SIGUSR1, signal.SIGUSR2):
        handler = signal.getsignal(number)
        if callable(handler):
            signal.signal(number, _exiting(handler))


def _exiting(handler: Callable[[int, FrameType | None], object]) -> Callable[[int, FrameType | None], None]:
    """Return a signal handler that ends the program where the given one raises an error."""

    def handle(number: int, frame: FrameType | None) -> None:
        try:
            handler(number, frame)
        except Exception as error:
            sys.exit(f"{type(error).__name__}: {error}")

    return handle
