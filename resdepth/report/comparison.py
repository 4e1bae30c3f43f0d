"""Group an experiment's runs for comparison: one group per combination of the keys that vary; only seeds are pooled."""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

import pandas as pd

from resdepth.config.keys import DERIVED_KEYS, EXECUTION_KEYS, PLUGIN_KEY, SHORTCUT_KEYS
from resdepth.results.metrics import COLUMNS
from resdepth.results.run_directory import safe_name
from resdepth.variants import VARIANTS

LEARNING_RATE = "recipe.lr"
# Shown by the panels and axes of every figure. The shortcut is compared by its configuration key instead.
_AXES = ("variant", "depth", "seed", "shortcut")
# Keys that some variants lack: a run without one is compared with those of each of its values.
_PARTIAL_KEYS = (*SHORTCUT_KEYS, PLUGIN_KEY)
# Keys that a title shows in a fixed place or not at all.
_IN_TITLE = (
    *(LEARNING_RATE, "recipe.epochs", "recipe.iterations", "recipe.name", "precision"),
    *("dataset", "data", "model", "recipe", "content"),
)


@dataclass(frozen=True)
class Comparison:
    """Runs of one experiment that differ in nothing but variant, depth and seed.

    `keys` holds the values that distinguish this comparison from the experiment's others; `rows` has the columns of
    `load_results`, one row per epoch.
    """

    experiment: str
    keys: dict[str, Any]
    rows: pd.DataFrame

    @property
    def label(self) -> str:
        """The keys for use in a file name: recipe.lr=0.05,recipe.epochs=20; empty if there is only one comparison."""
        return safe_name(",".join(f"{key}={format_value(value)}" for key, value in self.keys.items()))

    @property
    def title(self) -> str:
        """Data set, nets, recipe, learning rate, length, other differences from the defaults, precision, and seeds."""
        seeds, number = self.rows.seed.unique(), seeds_per_net([self])
        count = f"seed {seeds[0]}" if len(seeds) == 1 else "1 seed" if number == "1" else f"{number} seeds"
        return f"{self.rows.iloc[0].dataset}, {self.details()}, {count}"

    def details(self, varying: Collection[str] = ()) -> str:
        """Nets, recipe, learning rate, length, other differences from the defaults, and precision.

        Keys that are `varying` are left out: where they are shown, each run has its own.
        """
        first, rates = self.rows.iloc[0], self.rows[LEARNING_RATE].unique()
        parts = [f"rate {rates[0]:g}"] if len(rates) == 1 else []
        parts += [] if {"recipe.epochs", "recipe.iterations"} & set(varying) else [format_length(first)]
        parts += self._differences(varying)
        nets = [] if first.model == "conv" or "model" in varying else [f"{first.model} nets"]
        recipe = (
            []
            if "recipe.name" in varying
            else [f"recipe {first['recipe.name']}" + (f" ({', '.join(parts)})" if parts else "")]
        )
        precision = [] if "precision" in varying else [str(first.get("precision", "fp32"))]
        return ", ".join([*nets, *(recipe or parts), *precision])

    def _differences(self, varying: Collection[str]) -> list[str]:
        """Keys and values in the names of the runs' directories, and those of `keys`, such as "model.width 24"."""
        found: dict[str, set[str]] = {}
        for run in self.rows.run.unique():
            for key, _, value in (part.partition("=") for part in run.split(",")[1:]):
                found.setdefault(key, set()).add(value)
        found.pop(PLUGIN_KEY, None)  # shown if it is one of `keys`
        # A long directory name ends in a cut-off key, without a value.
        is_cut = any("" in values for values in found.values())
        found |= {key: {format_value(value)} for key, value in self.keys.items()}
        hidden = {*_IN_TITLE, *varying}
        shown = {key: values for key, values in found.items() if key not in hidden and "" not in values}
        parts = [f"{key.removeprefix('recipe.')} {' and '.join(sorted(values))}" for key, values in shown.items()]
        return [*parts, "..."] if is_cut else parts


def seeds_per_net(compared: Iterable[Comparison]) -> str:
    """Return how many seeds each net of these comparisons has at a rate: "3", or "1 to 3"."""
    nets = (c.rows.groupby(["variant", "depth", LEARNING_RATE]).seed.nunique() for c in compared)
    counts = {int(count) for of_net in nets for count in of_net}
    return " to ".join(map(str, sorted({min(counts), max(counts)})))


def format_value(value: Any) -> str:
    """Return a key's value as labels and titles show it."""
    if pd.isna(value):
        return "none"
    if isinstance(value, float):
        return f"{value:g}"
    # A SHA-256 fingerprint is shortened to eight digits, as in a run's directory name.
    return str(value)[:8] if re.fullmatch(r"[0-9a-f]{64}", str(value)) else str(value)


def count(number: int, noun: str) -> str:
    """Return "1 epoch", "2 epochs", "1,024 images"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def format_length(row: "pd.Series[Any]") -> str:
    """Return a run's length: "20 epochs", or "64,000 iterations"."""
    epochs, iterations = row.get("recipe.epochs"), row.get("recipe.iterations")
    if pd.notna(epochs):
        return count(round(epochs), "epoch")
    return f"{iterations:,.0f} iterations"


def comparisons(table: pd.DataFrame, pooled: tuple[str, ...] = ()) -> list[Comparison]:
    """Split a table of `load_results` by experiment and by every key that varies, except for `pooled`.

    Every run is in at least one comparison; runs of a variant without a shortcut are in those of every shortcut, and
    those of a built-in variant in those of every version of a user's own.
    """
    found = []
    for experiment, rows in table.groupby("experiment", sort=True):
        keys = varying_keys(rows, pooled)
        combinations = rows[keys].drop_duplicates().sort_values(keys) if keys else pd.DataFrame(index=[0])
        candidates = [{str(key): value for key, value in c.items()} for c in combinations.to_dict("records")]
        parts = [(chosen, rows[_mask(rows, chosen)]) for chosen in candidates]
        runs = [set(part.run) for _, part in parts]
        for (chosen, part), own in zip(parts, runs, strict=True):
            is_partial = any(key in _PARTIAL_KEYS and pd.isna(value) for key, value in chosen.items())
            if not (is_partial and any(own < others for others in runs)):
                found.append(Comparison(str(experiment), chosen, part))
    return found


def rate_sweeps(table: pd.DataFrame) -> list[Comparison]:
    """Return the comparisons that contain several learning rates."""
    return [c for c in comparisons(table, pooled=(LEARNING_RATE,)) if c.rows[LEARNING_RATE].nunique() > 1]


def varying_keys(rows: pd.DataFrame, pooled: tuple[str, ...] = ()) -> list[str]:
    """Return the keys that distinguish an experiment's runs, without axes, execution keys, `pooled`, redundant keys."""
    skipped = {*_AXES, *EXECUTION_KEYS, *DERIVED_KEYS, *pooled}
    runs = rows.drop_duplicates("run")
    kept: list[str] = []
    groups = 1
    keys = [column for column in rows.columns if column not in ("experiment", "run", "state", *COLUMNS)]
    for key in ["dataset", "recipe.name", "model", *keys]:
        finer = len(runs[[*kept, key]].drop_duplicates())
        if key not in skipped and _varies(runs, key) and finer > groups:
            kept, groups = [*kept, key], finer
    return kept


def _varies(runs: pd.DataFrame, key: str) -> bool:
    """Return whether a key distinguishes runs: not where it is NaN for a variant that lacks it."""
    if key == PLUGIN_KEY:
        # Variants may come from different files; versions of one variant are told apart.
        return bool(runs.groupby("variant")[key].nunique().max() > 1)
    return bool(runs[key].nunique(dropna=key in _PARTIAL_KEYS) > 1)


def _mask(rows: pd.DataFrame, chosen: dict[str, Any]) -> "pd.Series[bool]":
    """Return whether each row has the chosen values; a run that lacks a partial key matches every value."""
    mask = pd.Series(True, index=rows.index)
    for key, value in chosen.items():
        absent = rows[key].isna()
        matches = absent if pd.isna(value) else rows[key] == value
        mask &= matches | absent if key in _PARTIAL_KEYS else matches
    return mask


def last_epochs(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the last row of each run, with a column `seconds`: the sum of its epochs."""
    runs = ["experiment", "run"]
    last = rows.assign(seconds=rows.groupby(runs).epoch_seconds.transform("sum"))
    last = last.sort_values("epoch").drop_duplicates(runs, keep="last")
    order = variants_in(rows).index
    return last.sort_values(["variant", "depth", "seed"], key=lambda c: c.map(order) if c.name == "variant" else c)


def ended_runs(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the last rows of the finished and diverged runs; for a net with none of them, of all its runs."""
    finals = last_epochs(rows)
    has_ended = finals.state.isin(("finished", "diverged"))
    any_ended = has_ended.groupby([finals.variant, finals.depth, finals[LEARNING_RATE]]).transform("any")
    return finals[has_ended | ~any_ended]


def variants_in(rows: pd.DataFrame) -> list[str]:
    """Return the variants present, in the order of `VARIANTS`; unknown ones last."""
    present = set(rows.variant)
    return [v for v in VARIANTS if v in present] + sorted(present - set(VARIANTS))
