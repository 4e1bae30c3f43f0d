"""A run's directory: its name, its configuration, its state, its lock, and where a replaced run is kept.

    results/<name>/<variant>-<depth>-s<seed>[,<what differs from the defaults>]/
        config.yaml  environment.json  metrics.csv  outcome.json  [checkpoint.pt]  [weights/]

The name comes from the configuration, never from the clock, so that the same command finds its runs again.
"""

import itertools
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from enum import StrEnum
from hashlib import sha256
from pathlib import Path, PurePath
from typing import Any

import yaml

from resdepth.config.checks import expand_path
from resdepth.config.keys import (
    EXECUTION_KEYS,
    FOREIGN_KEYS,
    PLUGIN_KEY,
    SHORTCUT_KEYS,
    flatten,
    run_identity,
    unused_keys,
)
from resdepth.config.schema import PUBLISHED, DataConfig, ModelConfig, RecipeConfig, RunConfig
from resdepth.errors import ConfigError, RecordError, RunError
from resdepth.results.files.atomic import PART, atomic_write_text
from resdepth.results.files.lock import LOCK
from resdepth.results.metrics import METRICS, read_columns
from resdepth.results.outcome import OUTCOME, Outcome, read_outcome
from resdepth.variants import VARIANTS

CONFIG, FAILURE, WEIGHTS = "config.yaml", "failure.txt", "weights"
ASIDE = ".aside"  # the hidden folder beside the runs that keeps those started over
_REMEDY = "move its folder away, or start it over with --restart"
_MAX_NAME = 120  # characters
_DEFAULTS = dict(flatten(RunConfig()))
_REQUIRED = ("depth", "variant", "seed", "data.name", "recipe.name", "recipe.lr")
# libyaml is seven times as fast; on nested brackets it recurses until the stack overflows, which short texts cannot do.
_FastLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_MAX_FAST = 8192  # characters; a configuration has some 600, and more with a list of milestones


class RunState(StrEnum):
    """How far a run has come, as `--dry-run` prints it."""

    NEW = "new"
    FINISHED = "finished"
    CONTINUED = "to be continued"
    FAILED = "failed before, to be tried again"
    RESTARTED = "to be started over"


def run_path(config: RunConfig, non_defaults: Iterable[tuple[str, Any]]) -> Path:
    """Return results/<name>/<variant>-<depth>-s<seed>,..., each part a valid file name on any system."""
    unused = unused_keys(config)
    kept = [(key, value) for key, value in non_defaults if key not in unused]
    if config.plugin:
        kept.append((PLUGIN_KEY, config.plugin[:8]))
    if config.data.fingerprint:
        kept.append(("content", config.data.fingerprint[:8]))
    parts = [f"{config.variant}-{config.depth}-s{config.seed}", *(f"{k}={_format(v)}" for k, v in kept)]
    return expand_path("results", config.results) / config.name / safe_name(",".join(parts))


def safe_name(label: str) -> str:
    """Make a label a valid file name on any system, at most 120 characters; a changed one ends in a hash."""
    safe = re.sub(r"[^A-Za-z0-9._=,+-]", "_", label)
    if safe == label and len(safe) <= _MAX_NAME:
        return safe
    return f"{safe[: _MAX_NAME - 9]},{sha256(label.encode()).hexdigest()[:8]}"


def _format(value: Any) -> str:
    """Format a value as YAML does: null, true, 0.05; a list as 0.5+0.75."""
    if isinstance(value, list):
        return "+".join(map(_format, value))
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def write_config(folder: Path, config: RunConfig) -> None:
    """Write config.yaml: the resolved configuration without its execution keys, so without absolute paths."""
    skipped = EXECUTION_KEYS | unused_keys(config)
    tree: dict[str, Any] = {}
    for key, value in flatten(config):
        if key not in skipped:
            group, _, leaf = key.rpartition(".")
            (tree.setdefault(group, {}) if group else tree)[leaf] = value
    if config.data.path is not None:
        tree["data"]["path"] = PurePath(config.data.path).name
    atomic_write_text(folder / CONFIG, yaml.safe_dump(tree, sort_keys=False))


def read_config(folder: Path) -> dict[str, Any]:
    """Read a run's configuration: dotted key to value. Raises RecordError."""
    path = folder / CONFIG
    try:
        text = path.read_text(encoding="utf-8")
        tree = yaml.load(text, _FastLoader if len(text) <= _MAX_FAST else yaml.SafeLoader)
        # A run has some forty keys; aliases in another file may unfold without end.
        found = dict(itertools.islice(flatten(tree), 200)) if isinstance(tree, dict) else {}
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        reason = error.strerror if isinstance(error, OSError) else " ".join(str(error).split())
        raise RecordError(f"{path}: cannot be read: {reason}; {_REMEDY}") from error
    is_plain = all(_has_type_of(_DEFAULTS.get(key), value) for key, value in found.items())
    lengths = [found.get(key) for key in ("recipe.epochs", "recipe.iterations")]
    has_length = any(isinstance(n, int) for n in lengths) and all(isinstance(n, int | None) for n in lengths)
    if not is_plain or not has_length or any(found.get(key) is None for key in _REQUIRED):
        raise RecordError(f"{path}: is not a run's configuration; {_REMEDY}")
    return found


def with_defaults(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return a run's configuration with the defaults of keys that are newer and have a meaning for it."""
    architecture, variant = found.get("model.architecture", "conv"), VARIANTS.get(str(found["variant"]))
    unused = {*FOREIGN_KEYS.get(str(architecture), ()), *EXECUTION_KEYS, PLUGIN_KEY}
    # A user's own variant is not known here: its configuration has the key if it has a shortcut.
    has_shortcut = SHORTCUT_KEYS[0] in found if variant is None else variant.has_shortcut
    unused |= set(() if has_shortcut else SHORTCUT_KEYS)
    return {**{key: value for key, value in _DEFAULTS.items() if key not in unused}, **found}


def load_config(folder: Path) -> RunConfig:
    """Return a run's configuration, its execution keys at their defaults. Raises RecordError and ConfigError."""
    tree: dict[str, Any] = {}
    for key, value in read_config(folder).items():
        group, _, leaf = key.rpartition(".")
        (tree.setdefault(group, {}) if group else tree)[leaf] = value
    kinds = {"data": DataConfig, "model": ModelConfig, "recipe": RecipeConfig}
    try:
        return RunConfig(**{key: kinds[key](**value) if key in kinds else value for key, value in tree.items()})
    except ConfigError as error:
        raise ConfigError(error.field, error.value, f"{error.remedy} (in {folder / CONFIG})") from error
    except TypeError as error:
        raise RecordError(f"{folder / CONFIG}: is of another version of resdepth ({error}); {_REMEDY}") from error


def _has_type_of(default: Any, value: Any) -> bool:
    """Whether a value can belong to the key with this default, so that tables and figures can use it."""
    if isinstance(value, list):
        return isinstance(default, list) and all(isinstance(part, int | float) for part in value)
    if isinstance(value, float) and not math.isfinite(value):
        return False
    if isinstance(default, int | float):
        return isinstance(value, int | float | None)
    return isinstance(value, str if isinstance(default, str) else str | int | float | None)


def read_run(folder: Path) -> tuple[dict[str, list[Any]], Outcome | None]:
    """Read a run's metrics.csv and outcome, None while it runs. Raises RecordError for damaged and incomplete files."""
    outcome = read_outcome(folder)
    return read_columns(folder / METRICS, is_complete=outcome is not None and outcome.is_result), outcome


def read_state(folder: Path, config: RunConfig, *, restart: bool = False) -> RunState:
    """Return the state of a run; with `restart` NEW or RESTARTED, even where its files are damaged.

    Raises ConfigError where the directory holds something else, RecordError where one of its files cannot be read.
    """
    if not (folder / CONFIG).exists():
        # What a run leaves that is interrupted, or fails, before its configuration is written.
        files = list(folder.iterdir()) if folder.is_dir() else [folder] if folder.exists() else []
        names = {file.name for file in files if file.suffix != PART}
        if not names <= {OUTCOME, FAILURE, LOCK, CONFIG}:  # which a run that has just begun may write meanwhile
            remedy = f"{folder} exists and is not a run of this program; choose another name="
            raise ConfigError("name", config.name, remedy)
        return RunState.FAILED if OUTCOME in names else RunState.NEW
    try:
        there = read_config(folder)
    except RecordError:
        if not restart:
            raise
        return RunState.RESTARTED
    if difference := describe_differences(there, config):
        problem, remedy = f"another run ({difference})", "choose another name="
        if not describe_differences({**there, "data.name": config.data.name}, config):
            problem, remedy = "the same run under another name of the data", f"set data.name={there['data.name']}"
        raise ConfigError("name", config.name, f"{folder} holds {problem}; {remedy}")
    if restart:
        return RunState.RESTARTED
    outcome = read_outcome(folder)
    if outcome is None:
        return RunState.CONTINUED
    if not outcome.is_result:
        return RunState.FAILED
    read_columns(folder / METRICS, is_complete=True)
    return RunState.FINISHED


def describe_differences(there: Mapping[str, Any], config: RunConfig) -> str:
    """Describe which keys differ from those `there`, in words; keys newer than that run had their default in it."""
    there = {**_DEFAULTS, **there}
    odd = [(k, v) for k, v in run_identity(config).items() if there[k] != v]
    listed = ", ".join(f"{k}={there[k]} there, {v} here" for k, v in odd[:3])
    return f"{listed} and {len(odd) - 3} more" if len(odd) > 3 else listed


def run_folders(root: Path, file: str = CONFIG) -> Iterator[Path]:
    """Yield the runs at or below a folder that have this file, without hidden and published ones."""
    for found in root.rglob(file):
        below = found.relative_to(root).parts[:-1]
        if PUBLISHED not in below and not any(part.startswith(".") for part in below):
            yield found.parent


def set_aside(folder: Path) -> Path:
    """Move a run into the hidden folder beside it, which no table or figure reads; return its new path."""
    aside = folder.parent / ASIDE
    try:
        aside.mkdir(exist_ok=True)
        target = next(t for n in itertools.count(1) if not (t := aside / f"{folder.name}.{n}").exists())
        return folder.rename(target)
    except OSError as error:
        raise RunError(f"{folder}: cannot be kept in {aside} ({error.strerror}); fix that, or move it away") from error
