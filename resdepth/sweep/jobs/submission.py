"""The folder of a launch, below the results: what each job is to train, and which job of Slurm trains which run.

    results/.launch-XXXXXXXX/
        jobs.pkl    the runs of every job, which the jobs read
        jobs.json   Slurm's jobs and their runs, for a later command; submitit's files lie beside it

It is removed once none of its jobs is left, or by a later launch.
"""

import json
import os
import pickle
import shutil
import struct
import tempfile
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from resdepth.results.files.atomic import atomic_write_text
from resdepth.results.files.lock import RunLockedError, locked
from resdepth.sweep.jobs import slurm
from resdepth.sweep.plan import PlannedRun

_PREFIX = ".launch-"
_JOBS, _RECORD = "jobs.pkl", "jobs.json"
_OFFSET = struct.Struct("<q")


def make_folder(results: Path) -> Path:
    """Make the folder of a launch, and remove those whose launch and jobs have ended. Raises OSError."""
    _remove_leftovers(results)
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
    atomic_write_text(folder / _RECORD, json.dumps(paths) + "\n")


def submitted(results: Path, runs: Sequence[PlannedRun], queued: Collection[str]) -> dict[Path, tuple[str, Path]]:
    """Return the runs, by directory, that jobs in the queue are to train: the job, and the folder of its launch."""
    found = {}
    for folder in results.glob(f"{_PREFIX}*"):
        for job, paths in _read_record(folder).items():
            if job in queued:
                found.update(dict.fromkeys(paths, (job, folder)))
    return {run.directory: there for run in runs if (there := found.get(_below(results, run.directory)))}


def is_queued(folders: Sequence[Path]) -> bool:
    """Whether jobs in Slurm's queue are to train runs at, below or beside these folders."""
    places = {place for folder in folders for place in (folder, folder.parent)}
    jobs = {job for place in places for launch in place.glob(f"{_PREFIX}*") for job in _read_record(launch)}
    return bool(jobs) and not jobs.isdisjoint(slurm.queue() or ())


def log(folder: Path, job: str) -> Path:
    """Return the file of a job's output."""
    return folder / f"{job}_0_log.out"


def last_words(folder: Path, job: str) -> str:
    """Return the last line of a job's output; empty where it has none."""
    try:
        lines = log(folder, job).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    said = [
        line.strip() for line in lines if line.strip() and not line.startswith(("submitit ", "srun: ", "slurmstepd: "))
    ]
    return said[-1][:300] if said else ""


def remove(folder: Path) -> None:
    """Remove the folder of a launch."""
    shutil.rmtree(folder, ignore_errors=True)


def remove_if_over(folder: Path, queued: Collection[str]) -> None:
    """Remove the folder of a launch of which no job is in the queue any more."""
    if _read_record(folder).keys().isdisjoint(queued):
        remove(folder)


def _below(results: Path, directory: Path) -> str:
    return Path(os.path.relpath(directory, results)).as_posix()


def _read_record(folder: Path) -> dict[str, list[str]]:
    try:
        found: dict[str, list[str]] = json.loads((folder / _RECORD).read_text(encoding="utf-8"))
        return found
    except (OSError, ValueError):
        return {}


def _remove_leftovers(results: Path) -> None:
    """Remove the folders of launches that have ended: their locks are free, and their jobs have left the queue."""
    queued: Collection[str] | None = None
    for folder in results.glob(f"{_PREFIX}*"):
        jobs = _read_record(folder)
        if jobs and queued is None:
            queued = slurm.queue()
        if jobs and (queued is None or not jobs.keys().isdisjoint(queued)):
            continue
        try:
            with locked(folder):
                pass
        except (RunLockedError, OSError):
            continue
        remove(folder)
