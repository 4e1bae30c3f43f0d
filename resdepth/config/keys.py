"""Dotted keys: every key of the schema with its description, and which of them identify a run."""

from collections.abc import Iterator, Mapping
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from typing import Any, NamedTuple, get_args, get_type_hints

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
# The hash of the file that defines a user's own variant, which built-in ones lack.
PLUGIN_KEY = "plugin"
# The two keys of a run's length, of which one is set: setting it unsets the other.
LENGTHS = {"recipe.epochs": "recipe.iterations", "recipe.iterations": "recipe.epochs"}
# Keys of the other architectures.
FOREIGN_KEYS = {"conv": ("model.widths",), "dense": ("model.width", "model.downsample")}


def flatten(tree: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield a nested mapping or configuration as (dotted key, value): {"recipe": {"lr": 1}} -> ("recipe.lr", 1)."""
    for key, value in (tree if isinstance(tree, Mapping) else vars(tree)).items():
        if isinstance(value, Mapping) or is_dataclass(value):
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


class Key(NamedTuple):
    """What the schema declares of a key: its meaning, its default and the values it takes, in words."""

    name: str
    meaning: str
    default: str
    values: str


@cache
def known_keys() -> tuple[str, ...]:
    """Return every key of the schema, dotted."""
    return tuple(described_keys())


@cache
def described_keys() -> dict[str, Key]:
    """Return the description of every key of the schema, in its order."""
    return {key.name: key for key in _describe(RunConfig)}


def _describe(part: Any, prefix: str = "") -> Iterator[Key]:
    hints = get_type_hints(part)
    for declared in fields(part):
        said, kind = declared.metadata, hints[declared.name]
        if is_dataclass(kind):
            yield from _describe(kind, f"{prefix}{declared.name}.")
            continue
        default = declared.default if declared.default_factory is MISSING else declared.default_factory()
        null = " or null" if type(None) in get_args(kind) else ""
        default_text = said["stands_for"] or written(default)
        yield Key(f"{prefix}{declared.name}", said["meaning"], default_text, said["values"] + null)


def written(value: Any) -> str:
    """Return a value as an override writes it: [0.5,0.75], true, null, 60."""
    if isinstance(value, list):
        return f"[{','.join(map(written, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    return "null" if value is None else str(value).removesuffix(".0") if isinstance(value, float) else str(value)


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
    of_variant = () if VARIANTS[config.variant].has_shortcut else SHORTCUT_KEYS
    of_plugin = () if config.plugin else (PLUGIN_KEY,)
    return frozenset(of_variant + of_plugin + FOREIGN_KEYS[config.model.architecture])
