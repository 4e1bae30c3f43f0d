"""Which runs belong together: an experiment's runs split by every key in which they differ, seeds alone pooled."""

import re
import textwrap
from dataclasses import dataclass
from typing import Any

import pandas as pd

from resdepth.config.keys import EXECUTION_KEYS, SHORTCUT_KEYS
from resdepth.results.run_directory import safe_name
from resdepth.variants import VARIANTS

LEARNING_RATE = "recipe.lr"
# Told apart on the panels and axes of every figure. A shortcut is told by the configuration's key.
_AXES = ("variant", "depth", "seed", "shortcut")
# What a title says in words of its own.
_IN_TITLE = (LEARNING_RATE, "recipe.epochs", "recipe.iterations", "recipe.name", "dataset", "data", "recipe", "content")


@dataclass(frozen=True)
class Comparison:
    """The runs of one experiment that differ in nothing but variant, depth and seed."""

    experiment: str
    keys: dict[str, Any]  # what tells this setting from the experiment's others
    rows: pd.DataFrame

    @property
    def label(self) -> str:
        """The keys as a file's name has them: recipe.lr=0.05,recipe.epochs=20; empty for an only setting."""
        return safe_name(",".join(f"{key}={_spell(value)}" for key, value in self.keys.items()))

    @property
    def title(self) -> str:
        """Data set, recipe, what of it is not the default, and seeds, in words."""
        first, seeds = self.rows.iloc[0], sorted(self.rows.seed.unique())
        rates = self.rows[LEARNING_RATE].unique()
        parts = [f"rate {rates[0]:g}"] if len(rates) == 1 else []
        parts += [_length(first), *self._differences()]
        count = f"{len(seeds)} seeds" if len(seeds) > 1 else f"seed {seeds[0]}"
        return f"{first.dataset}, recipe {first['recipe.name']} ({', '.join(parts)}), {count}"

    def wrapped_title(self, width: int, more: str = "") -> str:
        """The title in lines of at most `width` characters."""
        return textwrap.fill(self.title + more, width)

    def _differences(self) -> list[str]:
        """What the runs' directories name beside the axes, and what tells this setting from others: model.width 24."""
        found: dict[str, set[str]] = {}
        is_cut = False
        for run in self.rows.run.unique():
            for key, _, value in (part.partition("=") for part in run.split(",")[1:]):
                found.setdefault(key, set()).add(value)
                is_cut = is_cut or not value
        found |= {key: {_spell(value)} for key, value in self.keys.items()}
        said = [
            f"{k.removeprefix('recipe.')} {' and '.join(sorted(v))}" for k, v in found.items() if self._is_said(k, v)
        ]
        return [*said, "..."] if is_cut else said

    @staticmethod
    def _is_said(key: str, values: set[str]) -> bool:
        return key not in _IN_TITLE and "" not in values


def _spell(value: Any) -> str:
    if pd.isna(value):
        return "none"
    if isinstance(value, float):
        return f"{value:g}"
    # A fingerprint of 64 digits is told by its first eight, as a run's directory does.
    return str(value)[:8] if re.fullmatch(r"[0-9a-f]{64}", str(value)) else str(value)


def _length(row: "pd.Series[Any]") -> str:
    epochs, iterations = row.get("recipe.epochs"), row.get("recipe.iterations")
    if pd.notna(epochs):
        return f"{epochs:.0f} epoch{'' if epochs == 1 else 's'}"
    return f"{iterations:,.0f} iterations"


def comparisons(table: pd.DataFrame, pooled: tuple[str, ...] = ()) -> list[Comparison]:
    """The table split by experiment and by every key that differs, but for `pooled`. Every run is in one at least.

    A variant without a shortcut stands beside every shortcut of the others.
    """
    found = []
    for experiment, rows in table.groupby("experiment", sort=True):
        keys = varying_keys(rows, pooled)
        combinations = rows[keys].drop_duplicates().sort_values(keys) if keys else pd.DataFrame(index=[0])
        for values in combinations.to_dict("records"):
            chosen = {str(key): value for key, value in values.items()}
            matching = rows[_mask(rows, chosen)]
            lacks_shortcut = any(key in SHORTCUT_KEYS and pd.isna(value) for key, value in chosen.items())
            stands_beside_others = set(matching.run) < set(rows[_mask(rows, chosen, wild=True)].run)
            if not (lacks_shortcut and stands_beside_others):
                found.append(Comparison(str(experiment), chosen, matching))
    return found


def rate_sweeps(table: pd.DataFrame) -> list[Comparison]:
    """The settings in which the learning rate was swept, its values pooled."""
    return [
        comparison
        for comparison in comparisons(table, pooled=(LEARNING_RATE,))
        if comparison.rows[LEARNING_RATE].nunique() > 1
    ]


def varying_keys(rows: pd.DataFrame, pooled: tuple[str, ...] = ()) -> list[str]:
    """The keys, beside variant, depth and seed, that tell an experiment's runs apart; none that another one implies."""
    start = list(rows.columns).index("epoch_seconds") + 1
    skipped = {*_AXES, *EXECUTION_KEYS, *pooled}
    runs = rows.drop_duplicates("run")
    kept: list[str] = []
    for key in ["dataset", "recipe.name", "model", *rows.columns[start:]]:
        if key in skipped or key in kept or key not in runs:
            continue
        # A variant without a shortcut has no value there (NaN), which does not make it another setting.
        if runs[key].nunique(dropna=key in SHORTCUT_KEYS) > 1 and _count(runs, [*kept, key]) > _count(runs, kept):
            kept.append(key)
    return kept


def _count(runs: pd.DataFrame, keys: list[str]) -> int:
    return len(runs[keys].drop_duplicates()) if keys else 1


def _mask(rows: pd.DataFrame, chosen: dict[str, Any], *, wild: bool = False) -> "pd.Series[bool]":
    """The rows with these values. Without a shortcut a run fits every one; if `wild`, so does any run."""
    mask = pd.Series(True, index=rows.index)
    for key, value in chosen.items():
        absent = rows[key].isna()
        if key in SHORTCUT_KEYS:
            mask &= absent | wild | (False if pd.isna(value) else rows[key] == value)
        else:
            mask &= absent if pd.isna(value) else rows[key] == value
    return mask


def last_epochs(rows: pd.DataFrame) -> pd.DataFrame:
    """The last row of each run, with `seconds`, the sum of its epochs."""
    last = rows.sort_values("epoch").groupby(["experiment", "run"], sort=False).tail(1)
    seconds = rows.groupby(["experiment", "run"]).epoch_seconds.sum().rename("seconds")
    last = last.join(seconds, on=["experiment", "run"])
    order = {name: i for i, name in enumerate(VARIANTS)}
    return last.sort_values(["variant", "depth", "seed"], key=lambda c: c.map(order) if c.name == "variant" else c)


def ended_runs(rows: pd.DataFrame) -> pd.DataFrame:
    """The final rows of the runs that have ended with a result; of a net none of which has, what there is so far."""
    finals = last_epochs(rows)
    has_ended = finals.state.isin(("finished", "diverged"))
    any_ended = has_ended.groupby([finals.variant, finals.depth, finals[LEARNING_RATE]]).transform("any")
    return finals[has_ended | ~any_ended]


def variants_in(rows: pd.DataFrame) -> list[str]:
    """The variants present, in the order of the table of variants."""
    present = set(rows.variant)
    return [v for v in VARIANTS if v in present] + sorted(present - set(VARIANTS))
