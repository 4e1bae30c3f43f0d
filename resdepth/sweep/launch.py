"""One job per group of runs through Hydra's launcher (basic, joblib, Slurm, Ray), which decides where it runs."""

import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from resdepth import device as devices
from resdepth.config.compose import initialized_hydra
from resdepth.config.hydra_errors import one_line_errors
from resdepth.data import sources
from resdepth.errors import ConfigError, RecordError, ResdepthError, RunError
from resdepth.models.plugins import Plugin, activate, active_plugins, use_plugins
from resdepth.results.files.lock import RunLockedError, locked
from resdepth.results.outcome import Outcome
from resdepth.results.run_directory import RunState, set_aside
from resdepth.results.table import read_runs
from resdepth.sweep.groups import Group
from resdepth.sweep.observer import Observer
from resdepth.sweep.plan import make_plan
from resdepth.sweep.preflight import ReadySweep, preflight, require_devices
from resdepth.sweep.processes import train_in_processes
from resdepth.sweep.run import train_interleaved

_FOLDER = ".launch-"
_AGAIN = "run the same command again: finished runs are kept, interrupted ones are continued"
# Hydra's own files contain absolute paths, and its log repeats ours.
_SILENT = ("hydra/job_logging=none", "hydra/hydra_logging=none", "hydra.output_subdir=null", "hydra.mode=MULTIRUN")


@dataclass
class _JobConfig:
    """The configuration of a launcher's job: its number."""

    job: int = 0


@dataclass(frozen=True)
class _Task:
    """What a job does: train the group of its number. Picklable where `make_observer` is."""

    groups: tuple[Group, ...]
    make_observer: Callable[[], Observer]
    checks_device: bool
    plugins: tuple[Plugin, ...]

    def __call__(self, config: DictConfig) -> list[Outcome]:
        activate(self.plugins)
        group, observer = self.groups[config.job], self.make_observer()
        if self.checks_device:
            try:
                require_devices(group.runs)
            except ConfigError as error:
                outcome = Outcome("failed", 0.0, str(error))
                for run in group.runs:
                    observer.on_end(run, outcome, None)
                return [outcome] * len(group.runs)
        if group.uses_processes:
            return train_in_processes(group, observer)
        with devices.threads(group.threads, pinned=group.pins_threads):
            return train_interleaved(group.runs, group.concurrency, observer)


def launch(ready: ReadySweep, make_observer: Callable[[], Observer], config_dir: Path | None = None) -> list[Outcome]:
    """Train every pending run through Hydra's launcher; return their outcomes in the plan's order.

    Each job reports to an observer that it makes; a launcher with processes of its own pickles `make_observer`.
    Raises RunError where the launcher itself fails.
    """
    plan = ready.plan
    if not plan.pending:
        return []
    for run in plan.pending:
        # All of them before the first is trained: after an interruption, a finished run is then one of this sweep.
        if run.state is RunState.RESTARTED:
            set_aside(run.directory)
    task = _Task(ready.groups, make_observer, checks_device=plan.uses_external_launcher, plugins=active_plugins())
    results = plan.pending[0].directory.parents[1]
    returned = _multirun(task, len(ready.groups), plan.hydra_overrides, results, config_dir)
    pairs = zip(ready.groups, returned, strict=True)
    outcomes = {run.directory: o for group, part in pairs for run, o in zip(group.runs, part, strict=True)}
    return [outcomes[run.directory] for run in plan.pending]


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
    for run, outcome in zip(plan.pending, launch(preflight(plan), Observer, folder), strict=True):
        if not outcome.is_result:
            raise RunError(f"{run.directory}: failed: {outcome.message}")
    table, problems = read_runs([run.directory for run in plan.runs])
    if problems:
        raise RecordError(problems[0])
    return table


def _multirun(
    task: _Task, count: int, hydra_overrides: Sequence[str], shared: Path, config_dir: Path | None
) -> list[list[Outcome]]:
    """Call the task for each job through Hydra's launcher; its own files are below `shared`, which every node sees."""
    ConfigStore.instance().store("launch", _JobConfig)
    _remove_leftovers(shared)
    with tempfile.TemporaryDirectory(prefix=_FOLDER, dir=shared) as folder, locked(Path(folder)):
        quoted = folder.replace("\\", "\\\\").replace("'", "\\'")
        places = (f"hydra.sweep.dir='{quoted}'", "hydra.sweep.subdir=${hydra.job.num}")
        jobs = "job=" + ",".join(map(str, range(count)))
        # The runs' directories are relative to this process's folder, so a job must not change its own.
        overrides = [*_SILENT, *places, *hydra_overrides, "hydra.job.chdir=false", jobs]
        with initialized_hydra(config_dir) as loader, one_line_errors(loader, hydra_overrides):
            hydra = GlobalHydra.instance().hydra
            assert hydra is not None
            try:
                batches = hydra.multirun(config_name="launch", task_function=task, overrides=overrides)
            except (ResdepthError, HydraException, OmegaConfBaseException):
                raise
            except Exception as error:
                # An exception of a run is an outcome, so this is the launcher's: a worker was killed, for example.
                line = (str(error).strip().splitlines() or [""])[0]
                raise RunError(f"the launcher failed ({type(error).__name__}: {line}); {_AGAIN}") from error
    return [job.return_value for batch in batches for job in batch]


def _remove_leftovers(shared: Path) -> None:
    """Remove the folders of launches that were killed, whose locks are free."""
    for folder in shared.glob(f"{_FOLDER}*"):
        try:
            with locked(folder):
                pass
        except RunLockedError:
            continue
        shutil.rmtree(folder, ignore_errors=True)
