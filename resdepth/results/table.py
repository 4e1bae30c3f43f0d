"""From CSV files to tables. Reads what runs left behind; knows nothing of nets and needs no torch."""

import warnings
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from resdepth.config.checks import expand_path
from resdepth.config.schema import PUBLISHED
from resdepth.errors import ConfigError, RecordError
from resdepth.results import run_directory
from resdepth.results.metrics import COLUMNS, METRICS
from resdepth.results.run_directory import read_run

RUNNING = "running"
_IN_CSV = {"depth", "variant", "seed", "data.name", "model.name", "name"}


def load_results(root: str | Path = "results") -> pd.DataFrame:
    """Every run below `root` as one tidy table: a row per epoch, the CSV's columns and the configuration's keys.

    Columns: `experiment` (folder), `run` (its directory), `state` (finished, diverged, failed, running), the columns of
    metrics.csv (units: `resdepth.results.metrics.EpochRecord`), and each key of config.yaml, dotted, as `recipe.lr`.
    A file that cannot be read is left out with a warning. Raises ConfigError if `root` does not exist.
    """
    table, problems = read_results(Path(root))
    for problem in problems:
        warnings.warn(problem, stacklevel=2)
    return table


def read_results(root: Path) -> tuple[pd.DataFrame, list[str]]:
    """The table of `load_results`, and a line for each file that could not be read."""
    if not expand_path("results", str(root)).is_dir():
        raise ConfigError("results", root, "is no folder; name one that holds runs, such as results/")
    parts, problems = [], []
    for folder in sorted(_run_folders(root), key=lambda f: f.parts):
        try:
            parts.append(_read_run(root, folder))
        except RecordError as error:
            problems.append(str(error))
    parts = [part for part in parts if not part.empty]
    if not parts:
        return pd.DataFrame(columns=["experiment", "run", "state", *COLUMNS]), problems
    return pd.concat(parts, ignore_index=True), problems


def require_rows(table: pd.DataFrame, root: Path, problems: list[str], purpose: str) -> None:
    """Raises ConfigError where there is no row, with what could not be read, if that is why."""
    if table.empty:
        hint = f" ({'; '.join(problems)})" if problems else "; make some with resdepth sweep depth=20,56,110"
        raise ConfigError("results", root, f"holds no rows to {purpose}{hint}")


def experiment_folder(root: Path, experiment: str) -> Path:
    """Where an experiment of `load_results(root)` has its figures: below root, or in root itself."""
    return root / experiment if (root / experiment).is_dir() else root


def _run_folders(root: Path) -> Iterator[Path]:
    for file in root.rglob(METRICS):
        below = file.relative_to(root).parts[:-1]
        if PUBLISHED not in below and not any(part.startswith(".") for part in below):
            yield file.parent


def _read_run(root: Path, folder: Path) -> pd.DataFrame:
    records, outcome = read_run(folder)
    rows = pd.DataFrame([asdict(row) for row in records], columns=list(COLUMNS))
    config = run_directory.read_config(folder)
    is_below = root in folder.parent.parents
    rows.insert(
        0, "experiment", (folder.parent.relative_to(root).as_posix() if is_below else folder.resolve().parent.name)
    )
    rows.insert(1, "run", folder.name)
    rows.insert(2, "state", outcome.state if outcome else RUNNING)
    extra = {k: _scalar(v) for k, v in config.items() if k not in _IN_CSV and k not in COLUMNS}
    # One assignment for all keys: column by column pandas warns of a fragmented table.
    return pd.concat([rows, pd.DataFrame(extra, index=rows.index)], axis=1)


def _scalar(value: Any) -> Any:
    return ",".join(str(v) for v in value) if isinstance(value, list) else value
