"""The folder of a launch, below the results: what each job is to train, and which job of Slurm trains which run.

    results/.launch-XXXXXXXX/
        jobs.pkl    the runs of every job, which the jobs read
        jobs.json   Slurm's jobs and their runs, for a later command; submitit's files lie beside it

It is removed once none of its jobs is left; where some of their runs have no result, by a launch after these have one.
"""

import json
import os
import pickle
import shutil
import struct
import tempfile
import time
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from resdepth.results.files.atomic import atomic_write_text
from resdepth.results.files.lock import RunLockedError, locked
from resdepth.results.outcome import OUTCOME
from resdepth.sweep.jobs import slurm
from resdepth.sweep.plan import PlannedRun

_PREFIX = ".launch-"
_JOBS, _RECORD = "jobs.pkl", "jobs.json"
_BEGIN_SECONDS = 1.0  # between the folder's making and its locking
_OFFSET = struct.Struct("<q")
_OTHERS = ("submitit ", "srun: ", "slurmstepd", "slurmd")  # what these say is told by the job's state


def make(results: Path) -> Path:
    """Make the folder of a launch, and remove those whose launch and jobs have ended. Raises OSError."""
    remove_leftovers(results)
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=results))
    folder.chmod(0o755)  # of a group's results, others may read the logs
    return folder


def write_jobs(folder: Path, jobs: Sequence[Sequence[PlannedRun]]) -> None:
    """Write the runs of every job into one file, of which each job reads its part: ten thousand jobs read it."""
    parts = [pickle.dumps(tuple(job)) for job in jobs]
    position = _OFFSET.size * len(parts)
    with (folder / _JOBS).open("wb") as file:
        for part in parts:
            file.write(_OFFSET.pack(position))
            position += len(part)
        file.writelines(parts)


def read_job(folder: Path, number: int) -> tuple[PlannedRun, ...]:
    """Read the runs of one job."""
    with (folder / _JOBS).open("rb") as file:
        file.seek(_OFFSET.size * number)
        file.seek(*_OFFSET.unpack(file.read(_OFFSET.size)))
        runs: tuple[PlannedRun, ...] = pickle.load(file)
    return runs


def record(folder: Path, jobs: Mapping[str, Sequence[PlannedRun]]) -> None:
    """Write which job of Slurm trains which runs, their directories relative to the results."""
    paths = {job: [_below(folder.parent, run.directory) for run in runs] for job, runs in jobs.items()}
    content = {"cluster": slurm.cluster_name(), "jobs": paths}
    atomic_write_text(folder / _RECORD, json.dumps(content) + "\n")


def submitted(results: Path, runs: Sequence[PlannedRun], queued: Collection[str]) -> dict[Path, tuple[str, Path]]:
    """Return the runs, by directory, that jobs in the queue are to train: the job, and the folder of its launch."""
    found = {}
    for folder in results.glob(f"{_PREFIX}*"):
        for job, paths in _read_jobs(folder).items():
            if job in queued:
                found.update(dict.fromkeys(paths, (job, folder)))
    return {run.directory: there for run in runs if (there := found.get(_below(results, run.directory)))}


def is_queued(folders: Sequence[Path]) -> bool:
    """Whether jobs in Slurm's queue are to train runs at, below or beside these folders."""
    places = {place for folder in folders for place in (folder, folder.parent)}
    jobs = {job for place in places for launch in place.glob(f"{_PREFIX}*") for job in _read_jobs(launch)}
    queued = slurm.queue() if jobs else {}
    return queued is None or not jobs.isdisjoint(queued)


def log(folder: Path, job: str) -> Path:
    """Return the file of a job's output."""
    return folder / f"{job}_0_log.out"


def last_words(folder: Path, job: str) -> str:
    """Return the last line of a job's output; empty where it has none."""
    try:
        lines = log(folder, job).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    said = [line.strip() for line in lines if line.strip() and not line.startswith(_OTHERS)]
    return said[-1][:300] if said else ""


def remove(folder: Path) -> None:
    """Remove the folder of a launch."""
    shutil.rmtree(folder, ignore_errors=True)


def _below(results: Path, directory: Path) -> str:
    return Path(os.path.relpath(directory, results)).as_posix()


def _read_jobs(folder: Path) -> dict[str, list[str]]:
    """Return the jobs of a launch on this cluster and their runs; none where another cluster has the launch's jobs."""
    cluster, jobs = _read_record(folder)
    return jobs if cluster == slurm.cluster_name() else {}


def _read_record(folder: Path) -> tuple[str, dict[str, list[str]]]:
    """Return the cluster of a launch's jobs, and the jobs with their runs."""
    try:
        found = json.loads((folder / _RECORD).read_text(encoding="utf-8"))
        return found["cluster"], found["jobs"]
    except (OSError, ValueError, KeyError, TypeError):
        return "", {}


def remove_leftovers(results: Path) -> None:
    """Remove the folders of launches that have ended: their locks are free, their jobs gone, their runs at an end."""
    records = {folder: _read_record(folder) for folder in results.glob(f"{_PREFIX}*")}
    queued = slurm.queue() if any(jobs for _, jobs in records.values()) else {}
    for folder, (cluster, jobs) in records.items():
        if jobs and (queued is None or cluster != slurm.cluster_name() or not jobs.keys().isdisjoint(queued)):
            continue
        # The output of a job that was lost may be wanted until its runs have ended.
        if not all((results / path / OUTCOME).exists() for paths in jobs.values() for path in paths):
            continue
        if not jobs and not _is_old(folder):
            continue
        with suppress(RunLockedError, OSError), locked(folder):
            remove(folder)


def _is_old(folder: Path) -> bool:
    """Whether a launch was begun long enough ago for its lock to be held."""
    try:
        return time.time() - folder.stat().st_mtime > _BEGIN_SECONDS
    except OSError:
        return False
