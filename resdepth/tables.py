"""From CSV files to tables. Reads what runs left behind; knows nothing of nets and needs no torch."""

import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from resdepth import rundir
from resdepth.errors import ConfigError, RecordError
from resdepth.records import COLUMNS, METRICS, read_outcome, read_rows
from resdepth.variants import VARIANTS

RUNNING = "running"
# Results that came with the program: read where they are asked for by name, not beside a user's own.
_COMMITTED = "published"
# Told apart on the axes and panels of every figure; `data.fingerprint` only through the data's name and its folder.
_AXES = ("variant", "depth", "seed", "shortcut")
_IN_CSV = {"depth", "variant", "seed", "data.name", "model.name", "name"}


def load_results(root: str | Path = "results") -> pd.DataFrame:
    """Every run below `root` as one tidy table: a row per epoch, the CSV's columns and the configuration's keys.

    Columns: `experiment` (folder), `run` (its directory), `state` (finished, diverged, failed, running), the columns of
    metrics.csv (see `resdepth.records.EpochRecord` for units), and each key of config.yaml, dotted, as `recipe.lr`.
    A file that cannot be read is left out with a warning. Raises ConfigError if `root` does not exist.
    """
    table, problems = read_results(Path(root))
    for problem in problems:
        warnings.warn(problem, stacklevel=2)
    return table


def read_results(root: Path) -> tuple[pd.DataFrame, list[str]]:
    """The table of `load_results`, and a line for each file that could not be read."""
    if not root.is_dir():
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


def experiment_folder(root: Path, experiment: str) -> Path:
    """Where an experiment of `load_results(root)` lies: below root, or root itself, or above a single run."""
    if (root / experiment).is_dir():
        return root / experiment
    return root.parent if (root / METRICS).exists() else root


def _run_folders(root: Path) -> Iterator[Path]:
    for file in root.rglob(METRICS):
        below = file.relative_to(root).parts[:-1]
        if _COMMITTED not in below and not any(part.startswith(".") for part in below):
            yield file.parent


def _read_run(root: Path, folder: Path) -> pd.DataFrame:
    rows = pd.DataFrame([asdict(row) for row in read_rows(folder / METRICS)], columns=list(COLUMNS))
    config = rundir.read_config(folder)
    outcome = read_outcome(folder)
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


@dataclass(frozen=True)
class Setting:
    """The runs of one experiment that differ in nothing but variant, depth and seed."""

    experiment: str
    keys: dict[str, Any]  # what tells this setting from the experiment's others
    rows: pd.DataFrame

    @property
    def label(self) -> str:
        """The keys as a file's name has them: recipe.lr=0.05,recipe.epochs=20; empty for an only setting."""
        return ",".join(f"{k}={v:g}" if isinstance(v, float) else f"{k}={v}" for k, v in self.keys.items())

    @property
    def title(self) -> str:
        """Data set, recipe and seeds in words."""
        first = self.rows.iloc[0]
        seeds = self.rows.seed.nunique()
        length = (
            f"{first['recipe.epochs']:.0f} epoch{'' if first['recipe.epochs'] == 1 else 's'}"
            if pd.notna(first.get("recipe.epochs"))
            else f"{first.get('recipe.iterations', 0):,.0f} iterations"
        )
        told = ("recipe.lr", "recipe.epochs", "recipe.iterations", "recipe.name", "dataset")
        others = "".join(f", {k.removeprefix('recipe.')} {v}" for k, v in self.keys.items() if k not in told)
        rate = "" if len(set(self.rows["recipe.lr"])) > 1 else f"rate {first['recipe.lr']:g}, "
        count = f"{seeds} seeds" if seeds > 1 else f"seed {first.seed}"
        return f"{first.dataset}, recipe {first['recipe.name']} ({rate}{length}{others}), {count}"


def varying_keys(rows: pd.DataFrame) -> list[str]:
    """The keys, beside variant, depth and seed, in which the runs of one experiment differ."""
    start = list(rows.columns).index("epoch_seconds") + 1
    candidates = ["dataset", "model", *rows.columns[start:]]
    # A variant without a shortcut has no value there (NaN), which does not make it another setting.
    candidates = [k for k in candidates if k not in _AXES and rows[k].dropna().nunique() > 0]
    first = rows.drop_duplicates("run")
    return [k for k in candidates if first[k].nunique(dropna=k in rundir.SHORTCUT_KEYS) > 1]


def settings(table: pd.DataFrame, pooled: tuple[str, ...] = ()) -> list[Setting]:
    """The table split by experiment and by every key that differs, but for `pooled`: only seeds are pooled unasked."""
    found = []
    for experiment, rows in table.groupby("experiment", sort=True):
        keys = [k for k in varying_keys(rows) if k not in pooled]
        combinations = rows[keys].drop_duplicates().sort_values(keys) if keys else pd.DataFrame(index=[0])
        for values in combinations.to_dict("records"):
            chosen = {str(k): v for k, v in values.items()}
            # Seen from a variant without shortcuts alone, the setting is part of the others.
            if any(pd.isna(chosen[k]) for k in chosen if k in rundir.SHORTCUT_KEYS):
                continue
            found.append(Setting(str(experiment), chosen, _matching(rows, chosen)))
    return found


def _matching(rows: pd.DataFrame, chosen: dict[str, Any]) -> pd.DataFrame:
    mask = pd.Series(True, index=rows.index)
    for key, value in chosen.items():
        absent = rows[key].isna()
        same = absent if pd.isna(value) else rows[key] == value
        mask &= (same | absent) if key in rundir.SHORTCUT_KEYS else same
    return rows[mask]


def final_rows(rows: pd.DataFrame) -> pd.DataFrame:
    """The last row of each run, with `seconds`, the sum of its epochs."""
    ordered = rows.sort_values("epoch")
    last = ordered.groupby(["experiment", "run"], sort=False).tail(1)
    seconds = rows.groupby(["experiment", "run"]).epoch_seconds.sum().rename("seconds")
    last = last.join(seconds, on=["experiment", "run"])
    order = {name: i for i, name in enumerate(VARIANTS)}
    return last.sort_values(["variant", "depth", "seed"], key=lambda c: c.map(order) if c.name == "variant" else c)


def variants_in(rows: pd.DataFrame) -> list[str]:
    """The variants present, in the order of the table of variants."""
    present = set(rows.variant)
    return [v for v in VARIANTS if v in present] + sorted(present - set(VARIANTS))
