"""Through Hydra's launcher: basic here, joblib, Slurm or Ray where their plugins are installed.

The jobs are planned already; the launcher only says where each is executed.
"""

import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from resdepth.config.compose import initialized_hydra
from resdepth.config.hydra_errors import one_line_errors
from resdepth.errors import ResdepthError, RunError
from resdepth.results import run_directory
from resdepth.results.outcome import Outcome
from resdepth.results.run_directory import RunLockedError, locked
from resdepth.sweep.groups import Group, make_groups
from resdepth.sweep.observer import Observer
from resdepth.sweep.plan import Plan
from resdepth.sweep.preflight import check
from resdepth.sweep.processes import train_in_processes
from resdepth.sweep.run import train_interleaved


@dataclass
class _Job:
    """All that a launcher is told of a job: its number."""

    job: int = 0


_FOLDER = ".launch-"

_AGAIN = "say the same command again: what is finished is kept, what was broken off is continued"

# Hydra's own files hold absolute paths and its log repeats ours: none of either.
_SILENT = ("hydra/job_logging=none", "hydra/hydra_logging=none", "hydra.output_subdir=null", "hydra.mode=MULTIRUN")


def launch(
    work: Callable[[int], Any],
    count: int,
    hydra_overrides: Sequence[str],
    shared: Path,
    config_dir: Path | None = None,
) -> list[Any]:
    """Call `work(0)` to `work(count - 1)`, each as a job of Hydra's launcher; what they return, in order.

    `work` must be picklable for launchers that leave this process. Their own files lie in a folder below `shared`,
    which every node must see. Raises what a job raised, after all have ended.
    """
    if count == 0:
        return []
    ConfigStore.instance().store("launch", _Job)

    def task(config: DictConfig) -> Any:
        return work(config.job)

    _remove_leftovers(shared)
    with tempfile.TemporaryDirectory(prefix=_FOLDER, dir=shared) as folder, locked(Path(folder)):
        jobs = ",".join(str(i) for i in range(count))
        place = folder.replace("\\", "\\\\").replace("'", "\\'")
        places = (f"hydra.sweep.dir='{place}'", "hydra.sweep.subdir=${hydra.job.num}")
        # The directories are planned from here: a job that changed its own would write elsewhere.
        overrides = [*_SILENT, *places, *hydra_overrides, "hydra.job.chdir=false", f"job={jobs}"]
        with initialized_hydra(config_dir) as loader, one_line_errors(loader, hydra_overrides):
            hydra = GlobalHydra.instance().hydra
            assert hydra is not None
            try:
                batches = hydra.multirun(config_name="launch", task_function=task, overrides=overrides)
            except (ResdepthError, HydraException, OmegaConfBaseException):
                raise
            except Exception as error:
                # What a job raises is an outcome (resdepth/run.py), so this is the launcher's: a worker was killed.
                line = (str(error).strip().splitlines() or [""])[0]
                raise RunError(f"the launcher gave up ({type(error).__name__}: {line}); {_AGAIN}") from error
    return [job.return_value for batch in batches for job in batch]


def _remove_leftovers(shared: Path) -> None:
    """Remove the folders of launches that were killed: nobody holds them any more."""
    for folder in shared.glob(f"{_FOLDER}*"):
        try:
            with locked(folder):
                pass
        except RunLockedError:
            continue
        shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True)
class _Work:
    """Job i trains group i. Picklable where the observer is."""

    groups: tuple[Group, ...]
    observer: Callable[[], Observer]

    def __call__(self, job: int) -> list[Outcome]:
        group = self.groups[job]
        train = train_in_processes if group.uses_processes else train_interleaved
        return train(group.runs, group.concurrency, self.observer())


def execute(plan: Plan, observer: Callable[[], Observer], config_dir: Path | None = None) -> list[Outcome]:
    """Train every pending run of the plan through Hydra's launcher; one outcome each, in order.

    `observer` makes the display a job reports to; a launcher that leaves this process pickles it.
    Raises ConfigError, before anything is written, for what only the device or the data can tell.
    """
    check(plan)
    if not plan.pending:
        return []
    for planned in plan.pending:
        # All of them first: after a break, what is finished is then what this sweep has trained.
        if planned.state == run_directory.RESTARTED:
            run_directory.set_aside(planned.directory)
    results = plan.pending[0].directory.parents[1]
    groups = make_groups(plan)
    found = launch(_Work(groups, observer), len(groups), plan.hydra_overrides, results, config_dir)
    pairs = zip((run for group in groups for run in group.runs), (o for part in found for o in part), strict=True)
    outcomes = {run.directory: outcome for run, outcome in pairs}
    return [outcomes[run.directory] for run in plan.pending]
