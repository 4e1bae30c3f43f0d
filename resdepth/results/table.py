"""Every run below a folder as one table, from the files alone."""

import os
import warnings
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from resdepth.config.checks import expand_path
from resdepth.errors import ConfigError, RecordError
from resdepth.results.files.lock import is_locked
from resdepth.results.filters import Filters
from resdepth.results.metrics import COLUMNS, METRICS
from resdepth.results.run_directory import read_config, read_run, run_folders, with_defaults

# States of a run without an outcome: a process is training it, or none is.
RUNNING, STOPPED = "running", "stopped"
_IN_CSV = {"depth", "variant", "seed", "data.name", "model.name", "name"}

# Wraps the folders while they are read, as a progress bar does.
Track = Callable[[Sequence[Path]], Iterable[Path]]
_Run = tuple[dict[str, NDArray[Any]], dict[str, Any]]


def load_results(root: str | Path = "results") -> pd.DataFrame:
    """Read every run below `root` as one tidy table: a row per epoch, the CSV's columns and the configuration's keys.

    Columns: `experiment` (folder), `run` (its directory), `state` (finished, diverged, failed; running; stopped, if it
    has not ended and no process is training it), the columns of metrics.csv (units:
    `resdepth.results.metrics.EpochRecord`), and each key of config.yaml, dotted, as `recipe.lr`. A file
    that cannot be read is left out with a warning. Raises ConfigError if `root` is not a folder.
    """
    table, problems = read_results(Path(root))
    for problem in problems:
        warnings.warn(problem, stacklevel=2)
    return table


def read_results(root: Path, track: Track = iter) -> tuple[pd.DataFrame, list[str]]:
    """Return the table of `load_results`, and one line for each file that cannot be read."""
    if not expand_path("results", str(root)).is_dir():
        raise ConfigError("results", root, "is not a folder; name one that holds runs, such as results/")
    if not os.access(expand_path("results", str(root)), os.R_OK | os.X_OK):
        raise ConfigError("results", root, "cannot be read (Permission denied); change its permissions")
    return read_runs(sorted(run_folders(root, METRICS), key=lambda folder: folder.parts), root, track)


def read_selected(roots: Sequence[Path], filters: Filters, track: Track = iter) -> tuple[pd.DataFrame, list[str]]:
    """Return the table of the runs below these folders that the filters keep, and a line for each unreadable file.

    Several folders are one experiment, "a+b". Where a run is in several of them, or in several experiments of one, a
    column `folder` tells them apart. Raises ConfigError for a folder without results, and where no run is kept.
    """
    parts = []
    problems: list[str] = []
    names = _names(distinct(roots))
    for root, name in names.items():
        table, unread = read_results(root, track)
        require_rows(table, root, unread)
        is_one = table.experiment.nunique() == 1
        parts.append(table.assign(folder=name if is_one else name + "/" + table.experiment))
        problems += unread
    table = filters.apply(pd.concat(parts, ignore_index=True))
    is_repeated = table.drop_duplicates(["folder", "run"]).duplicated("run").any()
    if len(parts) > 1:
        table["run"] = table["folder"] + "/" + table["experiment"] + "/" + table["run"]
        table["experiment"] = "+".join(names.values())
    return table if len(parts) > 1 and is_repeated else table.drop(columns="folder"), problems


def distinct(roots: Sequence[Path]) -> list[Path]:
    """Return the folders without those that are another one by another path. Raises ConfigError for a bad path."""
    found: dict[Path, Path] = {}
    for root in roots:
        found.setdefault(expand_path("results", str(root)).resolve(), root)
    return list(found.values())


def _names(roots: Sequence[Path]) -> dict[Path, str]:
    """Return a name for each folder: the last part of its path, or as many parts as tell it from the others."""
    paths = {root: expand_path("results", str(root)).resolve() for root in roots}
    for count in range(1, max(len(path.parts) for path in paths.values()) + 1):
        names = {root: "/".join(path.parts[-count:]).lstrip("/") for root, path in paths.items()}
        if len(set(names.values())) == len(names):
            break
    return names


def read_runs(folders: Sequence[Path], root: Path | None = None, track: Track = iter) -> tuple[pd.DataFrame, list[str]]:
    """Return the table of the runs that have rows, experiments named below `root`, and a line per unreadable file."""
    runs, problems = [], []
    for folder in track([folder for folder in folders if (folder / METRICS).exists()]):
        try:
            runs.append(_read_run(folder, root))
        except RecordError as error:
            problems.append(str(error))
    return _table([(columns, shared) for columns, shared in runs if len(columns["epoch"])]), problems


def require_rows(table: pd.DataFrame, root: Path, problems: list[str]) -> None:
    """Raises ConfigError for an empty table, with the files that could not be read, if that is why."""
    if table.empty:
        problem = "contains no results yet; make some with resdepth sweep depth=20,56,110"
        if any(run_folders(root)):
            problem = "its runs have no results yet; look again after their first epoch"
        if problems:
            problem = f"contains no results that can be read ({'; '.join(problems)})"
        raise ConfigError("results", root, problem)


def experiment_folder(root: Path, experiment: str) -> Path:
    """Return the folder of an experiment in `load_results(root)`: below root, or root itself."""
    return root / experiment if (root / experiment).is_dir() else root


def _read_run(folder: Path, root: Path | None) -> _Run:
    """Return the columns of a run's metrics.csv, and the values that all of its rows share."""
    columns, outcome = read_run(folder)
    if root is not None and root in folder.parent.parents:
        experiment = folder.parent.relative_to(root).as_posix()
    else:
        experiment = folder.resolve().parent.name
    state = outcome.state if outcome else RUNNING if is_locked(folder) else STOPPED
    shared = {"experiment": experiment, "run": folder.name, "state": state}
    keys = {k: v for k, v in with_defaults(read_config(folder)).items() if k not in _IN_CSV and k not in COLUMNS}
    arrays = {k: np.array(v, dtype=object if v and isinstance(v[0], str) else None) for k, v in columns.items()}
    return arrays, shared | {k: ",".join(map(str, v)) if isinstance(v, list) else v for k, v in keys.items()}


def _table(runs: Sequence[_Run]) -> pd.DataFrame:
    """Join runs column by column: ten thousand data frames of one run each would take minutes to concatenate."""
    if not runs:
        return pd.DataFrame(columns=["experiment", "run", "state", *COLUMNS])
    shared = pd.DataFrame([shared for _, shared in runs], dtype=object)
    for name in shared:
        # Beside a null, 20 epochs stay 20 and do not become 20.0. A key that a configuration lacks is NaN.
        if not any(value is None for value in shared[name]):
            shared[name] = shared[name].infer_objects()
    lengths = [len(columns["epoch"]) for columns, _ in runs]
    keys = shared.take(np.repeat(np.arange(len(runs)), lengths)).reset_index(drop=True)
    rows = pd.DataFrame({name: np.concatenate([columns[name] for columns, _ in runs]) for name in COLUMNS}, copy=False)
    names = ["experiment", "run", "state"]
    return pd.concat([keys[names], rows, keys.drop(columns=names)], axis=1)
