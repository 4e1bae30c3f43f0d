"""Dotted keys: every key of the schema, and which of them identify a run."""

from collections.abc import Iterator, Mapping
from dataclasses import is_dataclass
from functools import cache
from typing import Any

from resdepth.config.schema import RunConfig
from resdepth.variants import VARIANTS

# How and where a run is executed. Every other key is part of its identity, because it changes the numbers.
_EXECUTION = (
    *("device", "engine", "memory_format", "native_batch_norm", "runs_per_job", "threads", "gradient_checkpointing"),
    *("results", "checkpoint_seconds", "keep_checkpoint", "keep_weights", "data.path", "data.root", "data.download"),
)
EXECUTION_KEYS = frozenset(_EXECUTION)
# Keys that follow from the data's content: recorded with a run for its figures, but no part of its identity.
DERIVED_KEYS = frozenset({"data.classes"})
# Keys that the program computes, and that nobody can set.
COMPUTED_KEYS = DERIVED_KEYS | {"data.fingerprint"}
# Keys without a meaning for a variant without a shortcut, which do not tell such runs apart.
SHORTCUT_KEYS = ("model.shortcut", "model.zero_init_residual")
# Keys of the other architectures.
FOREIGN_KEYS = {"conv": ("model.widths",), "dense": ("model.width", "model.downsample")}


def flatten(tree: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield a nested mapping or configuration as (dotted key, value): {"recipe": {"lr": 1}} -> ("recipe.lr", 1)."""
    for key, value in (tree if isinstance(tree, Mapping) else vars(tree)).items():
        if isinstance(value, Mapping) or is_dataclass(value):
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


@cache
def known_keys() -> tuple[str, ...]:
    """Return every key of the schema, dotted."""
    return tuple(key for key, _ in flatten(RunConfig()))


def identity(config: RunConfig) -> dict[str, Any]:
    """Return the keys that change a run's numbers, dotted, with their values.

    They are all but execution keys, derived keys and the name.
    """
    skipped = EXECUTION_KEYS | DERIVED_KEYS | {"name"}
    return {key: value for key, value in flatten(config) if key not in skipped}


def run_identity(config: RunConfig) -> dict[str, Any]:
    """Return the identity without the keys that have no meaning for the run."""
    skipped = unused_keys(config)
    return {key: value for key, value in identity(config).items() if key not in skipped}


def unused_keys(config: RunConfig) -> frozenset[str]:
    """Return the keys without a meaning for this run's variant and architecture."""
    return frozenset(
        (() if VARIANTS[config.variant].has_shortcut else SHORTCUT_KEYS) + FOREIGN_KEYS[config.model.architecture]
    )
