"""The runs of a submission to Slurm, watched by their files until they have ended.

submitit would wait for the result of each job: for ever, where one was killed and Slurm keeps no accounts. Here nothing
depends on it. A run has ended when its directory says so; a job has ended when it has left the queue.
"""

import tempfile
import time
from contextlib import suppress
from functools import cache
from pathlib import Path

from resdepth.results.checkpoint import CHECKPOINT
from resdepth.results.files.lock import LOCK, RunLockedError, locked
from resdepth.results.metrics import METRICS
from resdepth.results.outcome import Outcome
from resdepth.sweep.jobs import launch_folder, slurm
from resdepth.sweep.jobs.cluster import Submission
from resdepth.sweep.jobs.follow import Follower
from resdepth.sweep.observer import Observer
from resdepth.sweep.plan import PlannedRun

# Between questions to Slurm, which may take that part of the time.
_SECONDS, _MOST_SECONDS, _SHARE = 2.0, 60.0, 20
_PAUSE = 0.2
_GRACE_SECONDS = 10.0  # after its job has left the queue, until a run without a result counts as lost
# Nor does a lock make the command wait for ever: a node that never comes back may have left it.
_SILENT_SECONDS = 3600.0
_EXIT_SECONDS = 15.0  # that jobs may take to leave the queue after their last run has ended
_AGAIN = "run the same command again, which continues the run"


def watch(submitted: Submission, observer: Observer) -> dict[Path, Outcome]:
    """Report what the runs' files say until every run has ended; return the outcomes by directory.

    A run whose job has left the queue without a result has failed, unless another process is training it.
    """
    follower = Follower(submitted.runs, observer)
    jobs = _Jobs(submitted)
    while follower.active:
        if jobs.ask(follower.active):
            observer.on_wait(slurm.describe(jobs.queued) or "no job is left in the queue, looking for the last results")
            for run in follower.active:
                if jobs.is_gone(run) and (outcome := _end(run, follower, jobs)):
                    follower.end(run, outcome)
        follower.look()
        time.sleep(_PAUSE)
    _clean_up(submitted)
    return follower.outcomes


def _end(run: PlannedRun, follower: Follower, jobs: "_Jobs") -> Outcome | None:
    """Return the outcome of a run that its job left without a result; None where it has one, or goes on elsewhere."""
    # Creating a file makes a network file system look for those that other machines have created.
    if not run.directory.is_dir():
        with suppress(OSError), tempfile.TemporaryFile(dir=run.directory.parent):
            pass
    if not run.directory.is_dir():
        return jobs.lost(run)
    try:
        with locked(run.directory):
            follower.look({run.directory}, at_once=True)
    except RunLockedError:
        files = [run.directory / name for name in (METRICS, CHECKPOINT, LOCK)]
        changed = max((file.stat().st_mtime for file in files if file.exists()), default=0.0)
        if time.time() - changed < _SILENT_SECONDS:
            return None
        return Outcome("failed", 0.0, f"{run.directory / LOCK} is held, but nothing was written for an hour; remove it")
    return None if run.directory in follower.outcomes else jobs.lost(run)


class _Jobs:
    """What Slurm says of the jobs of a submission, asked now and then."""

    def __init__(self, submitted: Submission) -> None:
        self._jobs, self._folders = dict(submitted.jobs), dict(submitted.folders)
        self._next = 0.0
        self._gone: dict[str, float] = {}  # since when
        self._end = cache(self._find_end)
        self.queued: dict[str, slurm.Job] = {}

    def ask(self, active: tuple[PlannedRun, ...]) -> bool:
        """Ask Slurm, if the last time is long enough ago; return whether it answered. `active`: runs not ended."""
        started = time.monotonic()
        if started < self._next:
            return False
        queued = slurm.queue()
        if queued is not None and (gone := [run for run in active if self._jobs[run.directory] not in queued]):
            # Another command may have submitted the same run, and its job wait to be requeued.
            others = launch_folder.submitted(gone[0].directory.parents[1], gone, queued)
            self._jobs |= {directory: job for directory, (job, _) in others.items()}
            self._folders |= dict(others.values())
        ended = time.monotonic()
        self._next = ended + min(_MOST_SECONDS, max(_SECONDS, _SHARE * (ended - started)))
        if queued is None:
            return False
        jobs = {self._jobs[run.directory] for run in active}
        self.queued = {job: queued[job] for job in sorted(jobs) if job in queued}
        self._gone = {job: self._gone.get(job, ended) for job in jobs if job not in queued}
        return True

    def is_gone(self, run: PlannedRun) -> bool:
        """Whether a run's job left the queue some time ago."""
        return time.monotonic() - self._gone.get(self._jobs[run.directory], time.monotonic()) > _GRACE_SECONDS

    def lost(self, run: PlannedRun) -> Outcome:
        """Return the outcome of a run whose job has left the queue without a result."""
        return Outcome("failed", 0.0, self._end(self._jobs[run.directory]))

    def _find_end(self, job: str) -> str:
        """Describe how a job ended, and what to do."""
        folder, state = self._folders[job], slurm.final_state(job)
        said, log = launch_folder.last_words(folder, job), launch_folder.log(folder, job)
        words = f"its Slurm job {job} ended without a result" + (f" ({state})" if state else "")
        words += f": {said}; see {log}" if said else ""
        remedy = f"set hydra.launcher.mem_gb=N and {_AGAIN}" if state == "OUT_OF_MEMORY" else _AGAIN
        return f"{words}; {remedy}"


def _clean_up(submitted: Submission) -> None:
    """Remove the folders of launches that have ended, once the jobs have left the queue."""
    end = time.monotonic() + _EXIT_SECONDS
    while (queued := slurm.queue()) is None or not queued.keys().isdisjoint(submitted.folders):
        if time.monotonic() > end:
            return
        time.sleep(_SECONDS / 2)
    for results in {folder.parent for folder in submitted.folders.values()}:
        launch_folder.remove_leftovers(results)
