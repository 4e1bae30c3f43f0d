"""Which runs a table keeps, as `resdepth plot` and `summary` are told: depth=20,56 variant=plain recipe.lr=0.1."""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from resdepth.config.keys import SHORTCUT_KEYS
from resdepth.errors import ConfigError
from resdepth.results.metrics import COLUMNS

# Keys of the configuration whose values are columns of metrics.csv of another name.
_COLUMNS = {
    "data.name": "dataset",
    "model.name": "model",
    "data": "dataset",
    "recipe": "recipe.name",
    "shortcut": "model.shortcut",
    "name": "experiment",
}
# What differs within a run, or is of no use.
_PER_RUN = ("dataset", "model", "variant", "depth", "shortcut", "seed")
_HIDDEN = {"run", *COLUMNS} - set(_PER_RUN)
_WORDS = {"true": True, "false": False, "null": None, "none": None}


@dataclass(frozen=True)
class Filters:
    """Values that a run may have, by key; a run is kept if each of these keys has one of its values."""

    values: Mapping[str, tuple[str, ...]]

    @classmethod
    def parse(cls, conditions: Iterable[str]) -> "Filters":
        """Parse conditions KEY=VALUE or KEY=VALUE,VALUE; of a key given twice, the values of both count.

        Raises ConfigError for a condition without a key or a value.
        """
        found: dict[str, tuple[str, ...]] = {}
        for condition in conditions:
            key, equals, text = condition.partition("=")
            # A list such as [0.5,0.75] is one value, as in a sweep.
            is_list = text.startswith("[") and text.endswith("]")
            parts = (text[1:-1].replace(" ", ""),) if is_list else tuple(part.strip() for part in text.split(","))
            if not key or not equals or not all(parts):
                raise ConfigError(key, text, "lacks a key or a value; write KEY=VALUE, as in recipe.lr=0.1")
            if "(" in text:
                raise ConfigError(key, text, "is not a list of values; write them out, as in depth=20,56")
            found[key] = tuple(dict.fromkeys([*found.get(key, ()), *parts]))
        return cls(found)

    @property
    def label(self) -> str:
        """The conditions for use in a file name: depth=20,56_variant=plain; empty without any."""
        return "_".join(f"{key}={','.join(values)}" for key, values in self.values.items())

    def apply(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return the rows of `load_results` whose runs are kept. Raises ConfigError for an unknown key or no run."""
        for key, values in self.values.items():
            column = _COLUMNS.get(key, key)
            if column not in table or column in _HIDDEN:
                raise ConfigError(key, ",".join(values), _unknown(key, table))
            kept = pd.concat([_equals(table[column], value) for value in values], axis=1).any(axis=1)
            if not kept.any():
                there = ", ".join(map(_format, sorted(set(table[column].dropna()), key=_order)[:12]))
                raise ConfigError(key, ",".join(values), f"no run has this value; there are {there or 'none'}")
            if column in SHORTCUT_KEYS:  # which mean nothing for plain nets: these are compared with every shortcut
                kept |= table[column].isna()
            table = table[kept]
        return table


def _equals(column: "pd.Series[Any]", value: str) -> "pd.Series[bool]":
    """Return where a column has the value as it is written: 1e-1 is 0.1, true is True, null is None."""
    if value.lower() in _WORDS:
        wanted = _WORDS[value.lower()]
        return column.isna() | (column == value) if wanted is None else column.astype(object).isin([wanted, value])
    equal = column.astype(str) == value
    try:
        number = float(value)
    except ValueError:
        return equal
    return equal | (pd.to_numeric(column, errors="coerce") == number)


def _unknown(key: str, table: pd.DataFrame) -> str:
    names = [str(name) for name in table if name not in _HIDDEN]
    close = difflib.get_close_matches(key, names, n=1) or [n for n in names if n.rpartition(".")[2] == key][:1]
    return f"no run has this key; {f'did you mean {close[0]}?' if close else 'resdepth show keys lists them'}"


def _format(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _order(value: object) -> tuple[bool, object]:
    return isinstance(value, str), value
