"""What a job of an external launcher does: check its device, and train its runs, on whatever machine it is."""

import os
import platform
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
from resdepth.errors import ConfigError, ResdepthError, RunError
from resdepth.host import cores
from resdepth.models.plugins import Plugin, activate
from resdepth.results.files.lock import is_locked, locked
from resdepth.results.outcome import Outcome
from resdepth.results.run_directory import RunState, read_state
from resdepth.sweep.groups import Group, make_groups
from resdepth.sweep.jobs.launch_folder import read_job
from resdepth.sweep.observer import Observer
from resdepth.sweep.plan import PlannedRun
from resdepth.sweep.preflight import require_devices
from resdepth.sweep.processes import train_in_processes
from resdepth.sweep.run import record_failure, train_interleaved

# A file server may take as long to release the locks of a node that failed.
_STALE_LOCK_SECONDS = 180.0
_IN_SLURM = "SLURM_JOB_ID" in os.environ


@dataclass(frozen=True)
class Task:
    """What a job does: train the runs of its number in `folder`. Returns the outcomes by directory; picklable.

    `place`: the folder in which the command was given, to which the runs' directories are relative.
    """

    folder: Path
    place: Path
    plugins: tuple[Plugin, ...]

    def __call__(self, config: Any) -> dict[Path, Outcome]:
        try:
            os.chdir(self.place)
            activate(self.plugins)
            if _IN_SLURM:
                _heed_slurm()
            return train_job(read_job(self.folder, config.job))
        except Exception as error:
            # Hydra would keep it in a file that nobody reads; so it is the last line of the job's output.
            if _IN_SLURM:
                sys.exit(f"{type(error).__name__}: {error}")
            raise


def train_job(runs: Sequence[PlannedRun]) -> dict[Path, Outcome]:
    """Train those of a job's runs that have no result yet; a job that is requeued does so again. Silent."""
    # The data were downloaded before the first job.
    runs = [replace(run, config=replace(run.config, data=replace(run.config.data, download=False))) for run in runs]
    outcomes: dict[Path, Outcome] = {}
    pending = []
    for run in runs:
        try:
            if read_state(run.directory, run.config) is not RunState.FINISHED:
                _require_gpu(run)
                require_devices([run])
                pending.append(run)
        except Exception as error:  # a broken GPU raises many kinds
            outcomes[run.directory] = _fail(run, error)
    if int(os.environ.get("SLURM_RESTART_COUNT", "0")):
        _await_locks(pending)
    for group in make_groups(runs, pending):
        try:
            trained = train_group(group, Observer())
        except ResdepthError as error:  # its data are missing here
            trained = [_fail(run, error) for run in group.runs]
        outcomes.update(zip((run.directory for run in group.runs), trained, strict=True))
    return outcomes


def _require_gpu(run: PlannedRun) -> None:
    """Raises ConfigError where Slurm gave the job a GPU that torch cannot use: `auto` would train on the CPU."""
    is_given = any(os.environ.get(name) for name in ("SLURM_JOB_GPUS", "SLURM_GPUS_ON_NODE"))
    if is_given and run.config.device == "auto" and not torch.cuda.is_available():
        remedy = f"torch cannot use the GPU of this job on {platform.node()}; hydra.launcher.exclude=NODE leaves it out"
        raise ConfigError("device", "auto", f"{remedy}, device=cpu trains without")


def _fail(run: PlannedRun, error: Exception) -> Outcome:
    """Record that a run cannot be trained here, unless another process is training it."""
    try:
        run.directory.mkdir(parents=True, exist_ok=True)
        with locked(run.directory):
            return record_failure(run, error)
    except (RunError, OSError) as problem:
        return Outcome("failed", 0.0, str(problem))


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
