"""A sweep on a Slurm cluster: its jobs submitted through Hydra's submitit launcher, its runs watched by their files.

submitit would wait for the result of each job: for ever, where one was killed and Slurm keeps no accounts. Here nothing
depends on it. A run has ended when its directory says so; a job has ended when it has left the queue.
"""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

from resdepth.errors import ConfigError, RunError
from resdepth.host import signals_deferred
from resdepth.models.plugins import active_plugins
from resdepth.results.files.lock import is_locked, locked
from resdepth.results.outcome import OUTCOME, Outcome
from resdepth.results.run_directory import RunState, set_aside
from resdepth.sweep.jobs import slurm, submission
from resdepth.sweep.jobs.follow import Follower
from resdepth.sweep.jobs.multirun import multirun, quoted
from resdepth.sweep.jobs.task import Task
from resdepth.sweep.observer import Observer
from resdepth.sweep.plan import Launcher, PlannedRun
from resdepth.sweep.preflight import ReadySweep

# Between questions to Slurm, which may take that part of the time.
_SECONDS, _MOST_SECONDS, _SHARE = 2.0, 60.0, 20
_PAUSE = 0.2
# After its job has left the queue, the last files of a run may take as long to be seen on this machine.
_GRACE_SECONDS = 10.0
_EXIT_SECONDS = 60.0  # that jobs may take to leave the queue after their last run has ended
_LISTED = 3


@dataclass(frozen=True)
class Submission:
    """The jobs that train a sweep's pending runs: those submitted now, and those that were in the queue before."""

    runs: tuple[PlannedRun, ...]
    jobs: Mapping[Path, str]  # a run's directory -> its job
    folders: Mapping[str, Path]  # a job -> the folder of its launch
    submitted: tuple[str, ...]


def submit(ready: ReadySweep, config_dir: Path | None = None) -> Submission:
    """Submit the jobs of a sweep, without the runs that jobs in the queue are to train already.

    Raises ConfigError where Slurm refuses the jobs, RunError where it does not answer or refuses some of them.
    """
    plan = ready.plan
    queued = slurm.queue()
    if queued is None:
        raise RunError("Slurm does not answer (squeue failed); run the same command again when it does")
    known = submission.submitted(plan.results, plan.pending, queued) if plan.results.is_dir() else {}
    _clear(plan.pending, {directory: job for directory, (job, _) in known.items()})
    jobs = [tuple(run for run in job if run.directory not in known) for job in ready.jobs]
    jobs = [job for job in jobs if any(run.state is not RunState.FINISHED for run in job)]
    folders = dict(known.values())
    by_run = {directory: job for directory, (job, _) in known.items()}
    submitted: tuple[str, ...] = ()
    if jobs:
        folder = submission.make_folder(plan.results)
        submitted = _submit(jobs, folder, plan.launcher, plan.hydra_overrides, config_dir)
        folders |= dict.fromkeys(submitted, folder)
        by_run |= {run.directory: job for job, runs in zip(submitted, jobs, strict=True) for run in runs}
    return Submission(plan.pending, by_run, folders, submitted)


def _clear(runs: Sequence[PlannedRun], known: Mapping[Path, str]) -> None:
    """Set runs aside that are to be started over, and remove the marks of earlier failures, which would look new."""
    for run in runs:
        if run.state is RunState.RESTARTED and (job := known.get(run.directory)):
            raise ConfigError("--restart", "", f"{run.directory} is in Slurm's queue; scancel {job}, or leave it out")
    for run in runs:
        if run.state is RunState.RESTARTED:
            set_aside(run.directory)
        elif run.state is RunState.FAILED and run.directory not in known:
            (run.directory / OUTCOME).unlink(missing_ok=True)


def _submit(
    jobs: Sequence[Sequence[PlannedRun]],
    folder: Path,
    launcher: Launcher,
    overrides: Sequence[str],
    config_dir: Path | None,
) -> tuple[str, ...]:
    """Submit the jobs, an array for as many as Slurm takes in one; return their ids. Nothing stops it half way."""
    arrays = f"hydra.sweeper.max_batch_size={slurm.max_array_size()}"
    options = [*overrides, arrays, f"hydra.launcher.submitit_folder={quoted(folder.resolve())}"]
    ids: list[str] = []
    with signals_deferred(), locked(folder):
        submission.write_jobs(folder, jobs)
        try:
            with _collecting(ids):
                multirun(Task(folder, Path.cwd(), active_plugins()), len(jobs), folder, options, config_dir)
        except RunError as error:
            if not ids:
                submission.remove(folder)
                raise _refusal(launcher, error) from error
            reason = _reason(error)
            remedy = "run the same command again when they have ended, which submits the others"
            line = (
                f"Slurm took {len(ids):,} of {len(jobs):,} jobs ({slurm.abbreviate(ids)}) and refused more ({reason})"
            )
            raise RunError(f"{line}; {remedy}") from error
        finally:
            if ids:
                submission.record(folder, dict(zip(ids, jobs, strict=False)))
    return tuple(ids)


@dataclass(frozen=True)
class _Submitted:
    """What Hydra takes for the result of a job: its id."""

    return_value: str


@contextmanager
def _collecting(ids: list[str]) -> Iterator[None]:
    """Have submitit return a job's id in the place of its result, and so not wait for it; append the ids to `ids`."""
    from submitit.slurm.slurm import SlurmJob

    def results(job: SlurmJob) -> list[_Submitted]:
        ids.append(job.job_id)
        return [_Submitted(job.job_id)]

    waiting = SlurmJob.results
    SlurmJob.results = results  # type: ignore[assignment, method-assign]
    try:
        # submitit prints what sbatch says besides raising it.
        with _outside_of_any_job(), redirect_stderr(StringIO()):
            yield
    finally:
        SlurmJob.results = waiting  # type: ignore[method-assign]


@contextmanager
def _outside_of_any_job() -> Iterator[None]:
    """Take the variables of the job in which this process may be out of the environment: sbatch would pass them on."""
    from submitit.helpers import clean_env

    if "SLURM_JOB_ID" not in os.environ:
        yield
        return
    place = os.environ.get("SLURM_CONF")  # of Slurm itself, not of the job
    with clean_env():
        if place is not None:
            os.environ["SLURM_CONF"] = place
        yield


def _refusal(launcher: Launcher, error: RunError) -> ConfigError:
    remedy = "set hydra.launcher.KEY as your cluster asks: partition, account, qos, gpus_per_node (null: none), ..."
    return ConfigError("hydra/launcher", launcher.name, f"sbatch refuses the jobs ({_reason(error)}); {remedy}")


def _reason(error: RunError) -> str:
    """Return the last thing that sbatch said."""
    lines = [line for line in str(error.__cause__ or error).splitlines() if line.strip()]
    return lines[-1].removeprefix("sbatch: error: ").strip() if lines else type(error.__cause__).__name__


def watch(submitted: Submission, observer: Observer) -> dict[Path, Outcome]:
    """Report what the runs' files say until every run has ended; return the outcomes by directory.

    A run whose job has left the queue without a result has failed, unless another process is training it.
    """
    follower = Follower(submitted.runs, observer)
    watched = _Watched(submitted)
    while follower.active:
        if watched.ask():
            observer.on_wait(slurm.describe(watched.queued))
        follower.look(watched.begun)
        for run in follower.active:
            if watched.is_gone(submitted.jobs[run.directory]) and not is_locked(run.directory):
                list(run.directory.parent.iterdir())  # so that a network file system looks for new files
                follower.look({run.directory}, at_once=True)
                if run.directory not in follower.outcomes:
                    follower.end(run, _lost(submitted, run))
        time.sleep(_PAUSE)
    _clean_up(submitted, follower.outcomes)
    return follower.outcomes


class _Watched:
    """What Slurm says of the jobs of a submission, asked now and then."""

    def __init__(self, submitted: Submission) -> None:
        self._submitted = submitted
        self._jobs = set(submitted.jobs.values())
        self._next = 0.0
        self._gone: dict[str, float] = {}  # since when
        self.queued: dict[str, slurm.Job] = {}
        self.begun: set[Path] = set(submitted.jobs)

    def ask(self) -> bool:
        """Ask Slurm, if the last time is long enough ago; return whether it answered."""
        started = time.monotonic()
        if started < self._next:
            return False
        queued = slurm.queue()
        ended = time.monotonic()
        self._next = ended + min(_MOST_SECONDS, max(_SECONDS, _SHARE * (ended - started)))
        if queued is None:
            return False
        self.queued = {job: queued[job] for job in self._jobs if job in queued}
        self._gone = {job: self._gone.get(job, ended) for job in self._jobs if job not in queued}
        waiting = {job for job, state in self.queued.items() if state.is_waiting}
        self.begun = {directory for directory, job in self._submitted.jobs.items() if job not in waiting}
        return True

    def is_gone(self, job: str) -> bool:
        """Whether a job left the queue some time ago."""
        return time.monotonic() - self._gone.get(job, time.monotonic()) > _GRACE_SECONDS


def _lost(submitted: Submission, run: PlannedRun) -> Outcome:
    """Return the outcome of a run whose job has left the queue without a result."""
    job = submitted.jobs[run.directory]
    folder, state = submitted.folders[job], slurm.final_state(job)
    said, log = submission.last_words(folder, job), submission.log(folder, job)
    words = f"its Slurm job {job} ended without a result" + (f" ({state})" if state else "")
    words += f": {said}; see {log}" if said else ""
    remedy = "run the same command again, which continues the run"
    if state == "OUT_OF_MEMORY":
        remedy = f"set hydra.launcher.mem_gb=N and {remedy}"
    return Outcome("failed", 0.0, f"{words}; {remedy}")


def _clean_up(submitted: Submission, outcomes: Mapping[Path, Outcome]) -> None:
    """Remove the folders of launches whose jobs have left the queue, but for those with the logs of failed runs."""
    failed = {submitted.folders[submitted.jobs[path]] for path, outcome in outcomes.items() if not outcome.is_result}
    end = time.monotonic() + _EXIT_SECONDS
    while time.monotonic() < end:
        queued = slurm.queue()
        if queued is not None and queued.keys().isdisjoint(submitted.folders):
            for folder in set(submitted.folders.values()) - failed:
                submission.remove_if_over(folder, queued)
            return
        time.sleep(_SECONDS / 2)
