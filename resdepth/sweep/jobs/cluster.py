"""The jobs of a sweep on a Slurm cluster, submitted through Hydra's submitit launcher."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, suppress
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

from resdepth.config.overrides import quoted
from resdepth.errors import ConfigError, RunError
from resdepth.host import signals_blocked, signals_deferred
from resdepth.models.plugins import active_plugins
from resdepth.results.files.lock import locked, require_unlocked
from resdepth.results.run_directory import RunState
from resdepth.sweep.jobs import launch_folder, slurm
from resdepth.sweep.jobs.follow import clear
from resdepth.sweep.jobs.multirun import multirun
from resdepth.sweep.jobs.task import Task
from resdepth.sweep.plan import Launcher, Plan, PlannedRun
from resdepth.sweep.preflight import ReadySweep

# A word of what sbatch says, the key of hydra.launcher that it concerns, and what to do.
_REFUSALS = {
    "partition": ("partition", "sinfo lists this cluster's"),
    "gres": ("gpus_per_node", "where there are no GPUs, hydra.launcher.gpus_per_node=null device=cpu"),
    "account": ("account", "name one that you may use"),
    "qos": ("qos", "name one that you may use"),
    "time limit": ("timeout_min", "set fewer minutes: a run continues in the next stretch"),
    "node configuration": ("cpus_per_task", "no node has that much; lower it, hydra.launcher.mem_gb or .gpus_per_node"),
    "memory": ("mem_gb", "no node has that much; lower it"),
}
_REMEDY = "set hydra.launcher.KEY as your cluster asks: partition, account, qos, cpus_per_task, mem_gb, gpus_per_node"
_LATER = "run the same command again when those have ended, which submits the others"


@dataclass(frozen=True)
class Submission:
    """The jobs that train a sweep's pending runs: those submitted now, and those that were in the queue before.

    `refused` says why Slurm took no more jobs; `runs` are those that have a job.
    """

    runs: tuple[PlannedRun, ...]
    jobs: dict[Path, str]  # a run's directory -> its job
    folders: dict[str, Path]  # a job -> the folder of its launch
    submitted: tuple[str, ...]
    refused: str = ""


def submit(ready: ReadySweep, config_dir: Path | None = None) -> Submission:
    """Submit the jobs of a sweep, without the runs that jobs in the queue are to train already.

    Raises ConfigError where Slurm refuses all of the jobs, RunError where it does not answer.
    """
    plan = ready.plan
    try:
        queued = slurm.require_queue()
    except RunError as error:
        raise RunError(f"Slurm does not answer ({error}); run the same command again when it does") from error
    # A run that failed in a job which goes on with others may be tried again by a new one.
    waiting = [run for run in plan.pending if run.state is not RunState.FAILED]
    known = launch_folder.submitted(plan.results, waiting, queued)
    for run in plan.pending:
        if run.state is RunState.RESTARTED:
            if there := known.get(run.directory):
                remedy = f"{run.directory} is in Slurm's queue; scancel {there[0]}, or leave it out"
                raise ConfigError("--restart", "", remedy)
            require_unlocked(run.directory, run.config)
    folders, by_run = dict(known.values()), {directory: job for directory, (job, _) in known.items()}
    jobs = [tuple(run for run in job if run.directory not in known) for job in ready.jobs]
    jobs = [job for job in jobs if any(run.state is not RunState.FINISHED for run in job)]
    if not jobs:
        return Submission(plan.pending, by_run, folders, ())
    size, folder = slurm.max_array_size(), launch_folder.make(plan.results)
    ids, refusal = _submit(plan, jobs, folder, size, config_dir)
    if refusal is not None and not ids and not known:
        for experiment in plan.folders:
            with suppress(OSError):  # unless there is something in it
                experiment.rmdir()
        raise _as_error(refusal, plan.launcher)
    folders |= dict.fromkeys(ids, folder)
    by_run |= {run.directory: job for job, runs in zip(ids, jobs, strict=False) for run in runs}
    refused = f"of {len(jobs):,} jobs Slurm took {len(ids):,}: {refusal}; {_LATER}" if refusal else ""
    return Submission(tuple(r for r in plan.pending if r.directory in by_run), by_run, folders, tuple(ids), refused)


def _submit(
    plan: Plan, jobs: Sequence[Sequence[PlannedRun]], folder: Path, size: int, config_dir: Path | None
) -> tuple[list[str], str | None]:
    """Submit the jobs in arrays of so many; return their ids, and why Slurm refused the others, if it did.

    Signals wait until then, also for sbatch: one that is interrupted may have submitted jobs that nobody knows.
    """
    place = f"hydra.launcher.submitit_folder={quoted(str(folder.resolve()))}"
    options = [*plan.hydra_overrides, f"hydra.sweeper.max_batch_size={size}", place]
    ids: list[str] = []

    def record(job: str) -> None:
        ids.append(job)
        if len(ids) % size == 0 or len(ids) == len(jobs):  # an array; should this process be killed before the next
            launch_folder.record(folder, dict(zip(ids, jobs, strict=False)))

    with signals_deferred(), signals_blocked(), locked(folder):
        moved = clear(run for job in jobs for run in job)
        try:
            launch_folder.write_jobs(folder, jobs)
            with _collecting(record):
                multirun(Task(folder, Path.cwd(), active_plugins()), len(jobs), folder, options, config_dir)
        except RunError as error:
            return ids, f"sbatch refuses the jobs ({_last_words(error)})"
        finally:
            if not ids:
                for aside, directory in moved.items():
                    aside.rename(directory)
                launch_folder.remove(folder)
    return ids, None


@dataclass(frozen=True)
class _Submitted:
    """What Hydra takes for the result of a job: its id."""

    return_value: str


@contextmanager
def _collecting(record: Callable[[str], None]) -> Iterator[None]:
    """Have submitit return a job's id in the place of its result, and so not wait for it; call `record` with each."""
    from submitit.slurm.slurm import SlurmJob

    def results(job: SlurmJob) -> list[_Submitted]:
        record(job.job_id)
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


def _as_error(refusal: str, launcher: Launcher) -> ConfigError:
    """Return the error for jobs that sbatch refused, with the key that it means where its words tell."""
    for word, (key, remedy) in _REFUSALS.items():
        if word in refusal.lower():
            return ConfigError(f"hydra.launcher.{key}", launcher.settings.get(key), f"{refusal}; {remedy}")
    return ConfigError("hydra/launcher", launcher.name, f"{refusal}; {_REMEDY}")


def _last_words(error: RunError) -> str:
    """Return the last thing that sbatch said."""
    lines = [line for line in str(error.__cause__ or error).splitlines() if line.strip()]
    return lines[-1].removeprefix("sbatch: error: ").strip() if lines else type(error.__cause__).__name__
