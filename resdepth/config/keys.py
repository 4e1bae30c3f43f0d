"""Dotted keys."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from functools import cache
from typing import Any

from resdepth.config.schema import RunConfig
from resdepth.variants import VARIANTS

# How and where a run is executed. Everything else is its identity: it changes the numbers.
_EXECUTED = ["device", "engine", "runs_per_job", "gradient_checkpointing", "results"]
_EXECUTED += ["checkpoint_seconds", "keep_checkpoint", "data.path", "data.root", "data.download"]
EXECUTION_KEYS = frozenset(_EXECUTED)


def flatten(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """A nested mapping as (dotted key, value) pairs, in order: {"recipe": {"lr": 1}} -> ("recipe.lr", 1)."""
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


@cache
def known_keys() -> tuple[str, ...]:
    """Every key of the schema, dotted."""
    return tuple(key for key, _ in flatten(asdict(RunConfig())))


def identity(config: RunConfig) -> dict[str, Any]:
    """The keys that change a run's numbers, dotted, with their values: all but the execution keys and the name."""
    pairs = flatten(asdict(config))
    return {key: value for key, value in pairs if key not in EXECUTION_KEYS and key != "name"}


# What a variant without a shortcut does not have, so that it does not tell such runs apart.
SHORTCUT_KEYS = ("model.shortcut", "model.zero_init_residual")


def run_identity(config: RunConfig) -> dict[str, Any]:
    """The keys that change this run's numbers."""
    skipped = () if VARIANTS[config.variant].has_shortcut else SHORTCUT_KEYS
    return {key: value for key, value in identity(config).items() if key not in skipped}
