"""Where each value of a composed configuration comes from: the schema, a YAML file, an axis, or the command line."""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import yaml

from resdepth.config.catalogue import default_sweep, lineage
from resdepth.config.compose import FirstPoint, first_point
from resdepth.config.keys import LENGTHS, flatten, written
from resdepth.config.schema import GROUPS


class Value(NamedTuple):
    """A key or group of a point, its value as an override writes it, and where it comes from."""

    key: str
    value: str
    origin: str


def composed_yaml(overrides: Sequence[str], config_dir: Path | None = None, *, swept: bool = True) -> str:
    """Return the first point's configuration as YAML, with a comment where there are more. Raises ConfigError."""
    point = first_point(overrides, config_dir, swept=swept)
    return _heading(point) + str(yaml.safe_dump(asdict(point.config), sort_keys=False, allow_unicode=True))


def composed_origins(overrides: Sequence[str], config_dir: Path | None = None, *, swept: bool = True) -> str:
    """Return the first point's keys and groups, values and origins in columns. Raises ConfigError."""
    point = first_point(overrides, config_dir, swept=swept)
    rows = values_with_origins(point, config_dir)
    widths = [max(len(row[i]) for row in rows) for i in (0, 1)]
    lines = (f"{key:<{widths[0]}}  {value:<{widths[1]}}  {origin}" for key, value, origin in rows)
    return _heading(point) + "\n".join(lines) + "\n"


def values_with_origins(point: FirstPoint, config_dir: Path | None = None) -> list[Value]:
    """Return the groups, then every key of a point, each with its origin."""
    origins = _origins(point, config_dir)
    chosen = [Value(group, str(option or "null"), origins[group]) for group, option in point.choices.items()]
    values = [Value(key, written(value), origins.get(key, "default")) for key, value in flatten(point.config)]
    return chosen + values


def _origins(point: FirstPoint, config_dir: Path | None) -> dict[str, str]:
    """Return the origin of every key and group that is not the schema's default; what comes later overrides."""
    sweep, experiment = default_sweep(), lineage("experiment", point.choices["experiment"] or "", config_dir)
    origins = dict.fromkeys((*GROUPS, *sweep.values), "config.yaml")
    origins["recipe"] = "the data's" if point.choices["recipe"] == point.choices["data"] else "config.yaml"
    for group in ("data", "model", "recipe"):
        origins[f"{group}.name"] = f"{group}={point.choices[group]}"
        for option in lineage(group, point.choices[group], config_dir):
            origins.update(dict.fromkeys(option.values, f"{group}/{option.file.name}"))
    for option in experiment:
        origins.update(dict.fromkeys(option.values, f"experiment/{option.file.name}"))
    for key in point.axes:
        owner = next((f"experiment/{o.file.name}" for o in experiment if key in o.axes), "config.yaml")
        origins[key] = f"axis of {owner}"
    for length, other in LENGTHS.items():
        if length in point.given | point.axes and other not in point.given:
            origins[other] = f"{length} is set"
    if point.config.data.name != point.choices["data"] and origins["data.name"].startswith("data="):
        origins["data.name"] = "name of data.path"
    return origins | dict.fromkeys(point.given, "command line")


def _heading(point: FirstPoint) -> str:
    return f"# The first of {point.points} points of the sweep.\n" if point.points > 1 else ""
