"""The runs of a sweep, trained in this process, or by the jobs of one of Hydra's launchers (joblib, Slurm, Ray)."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from resdepth.data import sources
from resdepth.errors import ConfigError, RecordError, RunError
from resdepth.models.plugins import active_plugins, use_plugins
from resdepth.results.files.lock import locked
from resdepth.results.outcome import Outcome
from resdepth.results.run_directory import RunState, set_aside
from resdepth.results.table import read_runs
from resdepth.sweep.groups import Group
from resdepth.sweep.jobs import launch_folder
from resdepth.sweep.jobs.cluster import submit
from resdepth.sweep.jobs.follow import clear, following
from resdepth.sweep.jobs.multirun import multirun
from resdepth.sweep.jobs.task import Task, train_group
from resdepth.sweep.jobs.watch import watch
from resdepth.sweep.observer import Observer
from resdepth.sweep.plan import make_plan
from resdepth.sweep.preflight import ReadySweep, preflight

_Outcomes = dict[Path, Outcome]


@dataclass(frozen=True)
class _Here:
    """What a job does in this process: train the group of its number."""

    groups: tuple[Group, ...]
    observer: Observer

    def __call__(self, config: Any) -> _Outcomes:
        group = self.groups[config.job]
        return dict(zip((run.directory for run in group.runs), train_group(group, self.observer), strict=True))


def launch(ready: ReadySweep, observer: Observer, config_dir: Path | None = None) -> list[Outcome]:
    """Train every pending run through Hydra's launcher; return their outcomes in the plan's order.

    Raises RunError where the launcher itself fails, and ConfigError where Slurm refuses the jobs.
    """
    plan = ready.plan
    if not plan.pending:
        return []
    if plan.launcher.is_slurm:
        submitted = submit(ready, config_dir)
        refused = Outcome("failed", 0.0, submitted.refused)
        outcomes = {run.directory: refused for run in plan.pending} | watch(submitted, observer)
    else:
        outcomes = _launch(ready, observer, config_dir)
    return [outcomes[run.directory] for run in plan.pending]


def _launch(ready: ReadySweep, observer: Observer, config_dir: Path | None) -> _Outcomes:
    """Train the pending runs with a launcher that waits for its jobs; return the outcomes by directory."""
    folder = launch_folder.make(ready.plan.results)
    start = _launch_elsewhere if ready.plan.launcher.is_external else _launch_here
    try:
        with locked(folder):
            parts = start(ready, folder, observer, config_dir)
    finally:
        launch_folder.remove(folder)
    return {directory: outcome for part in parts for directory, outcome in part.items()}


def _launch_here(ready: ReadySweep, folder: Path, observer: Observer, config_dir: Path | None) -> list[_Outcomes]:
    for run in ready.plan.pending:
        # All of them before the first is trained: after an interruption, a finished run is then one of this sweep.
        if run.state is RunState.RESTARTED:
            set_aside(run.directory)
    task = _Here(ready.groups, observer)
    return multirun(task, len(ready.groups), folder, ready.plan.hydra_overrides, config_dir)


def _launch_elsewhere(ready: ReadySweep, folder: Path, observer: Observer, config_dir: Path | None) -> list[_Outcomes]:
    """Have a launcher's own processes train, and follow the runs by their files meanwhile."""
    launch_folder.write_jobs(folder, ready.jobs)
    clear(ready.plan.pending)
    task = Task(folder, Path.cwd(), active_plugins())
    with following(ready.plan.pending, observer) as follower:
        parts = multirun(task, len(ready.jobs), folder, ready.plan.hydra_overrides, config_dir)
    # A job that was started again says nothing of the runs that it had finished before.
    return [follower.outcomes, *parts]


def train(
    overrides: Sequence[str] = (), *, config_dir: str | Path | None = None, restart: bool = False,
    plugins: Sequence[str | Path] = (),
) -> pd.DataFrame:  # fmt: skip
    """Train one run, as `resdepth train`, silently and in this process; return its table, a row per epoch.

    `overrides` and the keywords are those of the command line: `train(["depth=20", "recipe.epochs=5"])`. A finished run
    is not trained again, an interrupted one continues. The table is that of `load_results` for the run's directory.
    Raises ConfigError or DataError for bad input, and RunError, with its line, for a run that failed.
    """
    if isinstance(overrides, str):
        raise ConfigError("overrides", overrides, f'needs a list, such as ["{overrides}"]')
    use_plugins(plugins)
    sources.forget_user_data()
    folder = None if config_dir is None else Path(config_dir)
    plan = make_plan(list(overrides), folder, swept=False, restart=restart)
    for run, outcome in zip(plan.pending, launch(preflight(plan), Observer(), folder), strict=True):
        if not outcome.is_result:
            raise RunError(f"{run.directory}: failed: {outcome.message}")
    table, problems = read_runs([run.directory for run in plan.runs])
    if problems:
        raise RecordError(problems[0])
    return table
