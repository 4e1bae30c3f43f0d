"""What figures show of a run: a column of metrics.csv, its name, its unit, and its value by chance."""

import math
from typing import Any, NamedTuple

import pandas as pd

from resdepth.data.sources import published_classes

_NAMES = {
    "train_error": "training error",
    "test_error": "test error",
    "train_error_clean": "training error, no augmentation",
    "train_loss": "training loss",
    "test_loss": "test loss",
}


class Metric(NamedTuple):
    """A choice of `--metric`: the column of every figure, the columns of `curves`, and suffixes of the files' names."""

    column: str
    curves: tuple[str, ...]
    suffix: str
    curves_suffix: str

    @property
    def unit(self) -> str:
        """Of the axis."""
        return "nats" if self.is_loss else "%"

    @property
    def points(self) -> str:
        """Unit of a difference."""
        return "nats" if self.is_loss else "points"

    @property
    def is_loss(self) -> bool:
        """Whether it is a cross-entropy in nats, and not an error in percent."""
        return self.column.endswith("loss")

    @property
    def name(self) -> str:
        """In words: "training error"."""
        return name_of(self.column)

    @property
    def curves_name(self) -> str:
        """Of the columns of `curves`, in words."""
        if len(self.curves) == 1:
            return self.name
        return "training and test loss" if self.is_loss else "training and test error"


def name_of(column: str) -> str:
    """Return a column's name in words, without its unit."""
    return _NAMES[column]


def chance_level(rows: pd.DataFrame, metric: Metric) -> float | None:
    """Return the metric of guessing among balanced classes: 100 (1 - 1/classes) percent, or ln(classes) nats.

    None where the number of classes is not known, or not one for all runs. Runs of a user's own data record it since
    `data.classes` exists; of earlier ones, the name of a published data set tells.
    """
    found: set[Any] = {published_classes(str(source)) for source in rows["data.source"].unique()}
    if found == {None}:
        recorded = set(rows["data.classes"].dropna()) if "data.classes" in rows else set()
        found = recorded or {published_classes(str(name)) for name in rows.dataset.unique()}
    classes = found.pop() if len(found) == 1 else None
    if not isinstance(classes, int | float) or classes < 2:
        return None
    return math.log(classes) if metric.is_loss else 100 * (1 - 1 / classes)
