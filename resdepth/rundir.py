"""A run's directory: how it is named, what configuration stands in it, and how far the run in it has come.

    results/<name>/<variant>-<depth>-s<seed>[,<what differs from the defaults>]/
        config.yaml  environment.json  metrics.csv  outcome.json  [checkpoint.pt]

The name comes from the configuration, never from the clock: the same command finds its runs again.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path, PurePath
from typing import Any

import yaml

from resdepth.config import EXECUTION_KEYS, DataConfig, RunConfig, flatten, identity
from resdepth.errors import ConfigError, RecordError
from resdepth.records import CONFIG, read_outcome, write_text
from resdepth.variants import VARIANTS

NEW, FINISHED, CONTINUED, FAILED = "new", "finished", "to be continued", "failed before, to be tried again"
# What a variant without a shortcut does not have, so that it does not tell such runs apart.
SHORTCUT_KEYS = ("model.shortcut", "model.zero_init_residual")
_LONGEST = 120
# A path may be absolute and says nothing about the numbers; of a user's data the file's name is kept.
_UNWRITTEN = ("results", "root", "device", "download", "checkpoint_seconds", "keep_checkpoint")


def run_identity(config: RunConfig) -> dict[str, Any]:
    """The keys that change this run's numbers."""
    skipped = () if VARIANTS[config.variant].has_shortcut else SHORTCUT_KEYS
    return {key: value for key, value in identity(config).items() if key not in skipped}


def directory(config: RunConfig, differences: Iterable[tuple[str, Any]]) -> Path:
    """results/<name>/<variant>-<depth>-s<seed>,..., each part safe as a file name on any system."""
    kept = [(k, v) for k, v in differences if k not in SHORTCUT_KEYS or VARIANTS[config.variant].has_shortcut]
    if config.data.fingerprint:
        kept.append(("data", config.data.fingerprint[:8]))
    parts = [f"{config.variant}-{config.depth}-s{config.seed}", *(f"{k}={_spell(v)}" for k, v in kept)]
    label = ",".join(parts)
    safe = re.sub(r"[^A-Za-z0-9._=,+-]", "_", label)
    if safe != label or len(safe) > _LONGEST:
        digest = sha256(repr(sorted(run_identity(config).items())).encode()).hexdigest()[:8]
        safe = f"{safe[: _LONGEST - 9]},{digest}"
    return Path(config.results).expanduser() / config.name / safe


def _spell(value: Any) -> str:
    if isinstance(value, list):
        return "+".join(_spell(v) for v in value)
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)


def write_config(folder: Path, config: RunConfig) -> None:
    """The whole resolved configuration but for where and how it was executed. Holds no absolute path."""

    def written(tree: Mapping[str, Any]) -> dict[str, Any]:
        kept = {k: v for k, v in tree.items() if k not in _UNWRITTEN}
        return {k: written(v) if isinstance(v, Mapping) else v for k, v in kept.items()}

    tree = written(asdict(config))
    if config.data.path is not None:
        tree["data"]["path"] = PurePath(config.data.path).name
    if not VARIANTS[config.variant].has_shortcut:
        tree["model"] = {k: v for k, v in tree["model"].items() if f"model.{k}" not in SHORTCUT_KEYS}
    write_text(folder / CONFIG, yaml.safe_dump(tree, sort_keys=False))


def read_config(folder: Path) -> dict[str, Any]:
    """The configuration a run was started with, dotted key to value. Raises RecordError."""
    path = folder / CONFIG
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RecordError(f"{path}: cannot be read: {str(error).splitlines()[0]}") from error
    if not isinstance(tree, dict):
        raise RecordError(f"{path}: is not a run's configuration")
    return dict(flatten(tree))


def state(folder: Path, config: RunConfig) -> str:
    """NEW, FINISHED, CONTINUED or FAILED. Raises ConfigError where the directory holds something else."""
    if not (folder / CONFIG).exists():
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise ConfigError(
                "name", config.name, f"{folder} exists and is not a run of this program; choose another name="
            )
        return NEW
    _refuse_other_run(folder, config)
    outcome = read_outcome(folder)
    if outcome is None:
        return CONTINUED
    return FINISHED if outcome.is_result else FAILED


def _refuse_other_run(folder: Path, config: RunConfig) -> None:
    # A key that came into the schema later holds its default in older runs.
    defaults = identity(RunConfig(name="x", data=DataConfig(name="x")))
    there, here = read_config(folder), run_identity(config)
    odd = [k for k, v in here.items() if k not in EXECUTION_KEYS and there.get(k, defaults.get(k)) != v]
    if odd:
        listed = ", ".join(f"{k}={there.get(k, defaults.get(k))} there, {here[k]} here" for k in odd[:3])
        more = f" and {len(odd) - 3} more" if len(odd) > 3 else ""
        raise ConfigError("name", config.name, f"{folder} holds another run ({listed}{more}); choose another name=")
