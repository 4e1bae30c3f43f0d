"""A run's directory: how it is named, what configuration stands in it, and how far the run in it has come.

    results/<name>/<variant>-<depth>-s<seed>[,<what differs from the defaults>]/
        config.yaml  environment.json  metrics.csv  outcome.json  [checkpoint.pt]

The name comes from the configuration, never from the clock: the same command finds its runs again.
"""

import itertools
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path, PurePath
from typing import Any

import yaml
from filelock import FileLock, Timeout

from resdepth.config.checks import expand_path
from resdepth.config.keys import EXECUTION_KEYS, SHORTCUT_KEYS, flatten, identity, run_identity
from resdepth.config.schema import RunConfig
from resdepth.errors import ConfigError, RecordError, RunError
from resdepth.results.atomic import ASIDE, PART, atomic_write_text
from resdepth.results.metrics import METRICS, EpochRecord, _text_of, read_rows
from resdepth.results.outcome import OUTCOME, Outcome, read_outcome
from resdepth.variants import VARIANTS

CONFIG, FAILURE, LOCK = "config.yaml", "failure.txt", ".lock"
NEW, FINISHED, CONTINUED, FAILED = "new", "finished", "to be continued", "failed before, to be tried again"
RESTARTED = "to be started over"
_AWAY = "move its folder away, or start it over with --restart"
_LONGEST = 120
_NEEDED = ("depth", "variant", "seed", "data.name", "recipe.name", "recipe.lr")


def run_path(config: RunConfig, non_defaults: Iterable[tuple[str, Any]]) -> Path:
    """results/<name>/<variant>-<depth>-s<seed>,..., each part safe as a file name on any system."""
    kept = [(k, v) for k, v in non_defaults if k not in SHORTCUT_KEYS or VARIANTS[config.variant].has_shortcut]
    if config.data.fingerprint:
        kept.append(("content", config.data.fingerprint[:8]))
    parts = [f"{config.variant}-{config.depth}-s{config.seed}", *(f"{k}={_spell(v)}" for k, v in kept)]
    return expand_path("results", config.results) / config.name / safe_name(",".join(parts))


def safe_name(label: str) -> str:
    """The label as a file name on any system, at most 120 characters; what had to be cut or replaced ends in a hash."""
    safe = re.sub(r"[^A-Za-z0-9._=,+-]", "_", label)
    if safe == label and len(safe) <= _LONGEST:
        return safe
    return f"{safe[: _LONGEST - 9]},{sha256(label.encode()).hexdigest()[:8]}"


def _spell(value: Any) -> str:
    if isinstance(value, list):
        return "+".join(_spell(v) for v in value)
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)


def write_config(folder: Path, config: RunConfig) -> None:
    """The whole resolved configuration but for where and how it was executed, so that it holds no absolute path."""
    skipped = {*EXECUTION_KEYS} if VARIANTS[config.variant].has_shortcut else {*EXECUTION_KEYS, *SHORTCUT_KEYS}
    tree: dict[str, Any] = {}
    for key, value in flatten(asdict(config)):
        if key not in skipped:
            *groups, leaf = key.split(".")
            branch = tree
            for group in groups:
                branch = branch.setdefault(group, {})
            branch[leaf] = value
    if config.data.path is not None:
        tree["data"]["path"] = PurePath(config.data.path).name
    atomic_write_text(folder / CONFIG, yaml.safe_dump(tree, sort_keys=False))


def read_config(folder: Path) -> dict[str, Any]:
    """The configuration a run was started with, dotted key to value. Raises RecordError."""
    path = folder / CONFIG
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
        # A run's own has some forty keys; aliases in a foreign one may unfold without end.
        found = dict(itertools.islice(flatten(tree), 200)) if isinstance(tree, dict) else {}
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        reason = error.strerror if isinstance(error, OSError) else " ".join(str(error).split())
        raise RecordError(f"{path}: cannot be read: {reason}; {_AWAY}") from error
    defaults = dict(flatten(asdict(RunConfig())))
    is_plain = all(_is_like(defaults.get(key), value) for key, value in found.items())
    lengths = [found.get(key) for key in ("recipe.epochs", "recipe.iterations")]
    has_length = any(isinstance(n, int) for n in lengths) and all(isinstance(n, int | None) for n in lengths)
    if not is_plain or not has_length or any(found.get(key) is None for key in _NEEDED):
        raise RecordError(f"{path}: is not a run's configuration; {_AWAY}")
    return found


def _is_like(default: Any, value: Any) -> bool:
    """Whether a value can be one of the key with this default, so that tables and figures can use it."""
    if isinstance(value, list):
        return isinstance(default, list) and all(isinstance(part, int | float) for part in value)
    if isinstance(value, float) and not math.isfinite(value):
        return False
    if isinstance(default, int | float):
        return isinstance(value, int | float | None)
    return isinstance(value, str | int | float | None) and not (isinstance(default, str) and not isinstance(value, str))


def state(folder: Path, config: RunConfig, *, restart: bool = False) -> str:
    """NEW, FINISHED, CONTINUED or FAILED; with `restart` NEW or RESTARTED, whatever the state of the run's files.

    Raises ConfigError where the directory holds something else, RecordError where a file of it cannot be read.
    """
    if not (folder / CONFIG).exists():
        if folder.exists() and (not folder.is_dir() or any(not _is_leftover(file) for file in folder.iterdir())):
            raise ConfigError(
                "name", config.name, f"{folder} exists and is not a run of this program; choose another name="
            )
        return NEW
    if restart:
        with suppress(RecordError):
            _refuse_other_run(folder, config)
        return RESTARTED
    _refuse_other_run(folder, config)
    outcome = read_outcome(folder)
    if outcome is None:
        return CONTINUED
    if not outcome.is_result:
        return FAILED
    read_run(folder)
    return FINISHED


def set_aside(folder: Path) -> Path:
    """Move a run out of the way, into the hidden folder beside it that no table or figure reads; returns where to."""
    aside = folder.parent / ASIDE
    try:
        aside.mkdir(exist_ok=True)
        target = next(t for n in itertools.count(1) if not (t := aside / f"{folder.name}.{n}").exists())
        return folder.rename(target)
    except OSError as error:
        raise RunError(f"{folder}: cannot be kept in {aside} ({error.strerror}); mend that, or move it away") from error


class RunLockedError(RunError):
    """Another process is training this run."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a run's directory for this process; the system lets go of it when the process ends, however it ends.

    Raises HeldElsewhereError where another process has it.
    """
    lock = FileLock(folder / LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise RunLockedError(
            f"{folder}: is being trained by another process; wait for it, or choose another name="
        ) from error
    try:
        yield
    finally:
        # A lock that nobody holds is no obstacle; that it cannot be removed must not undo what the run has left.
        with suppress(OSError):
            (folder / LOCK).unlink(missing_ok=True)
        lock.release()


def require_unlocked(folder: Path, config: RunConfig) -> None:
    """Raises ConfigError where another process is training this run."""
    if not (folder / LOCK).exists():
        return
    try:
        with locked(folder):
            pass
    except RunLockedError as error:
        raise ConfigError("name", config.name, str(error)) from error


def _is_leftover(file: Path) -> bool:
    """What a run may leave that was broken off before its configuration was written."""
    return file.suffix == PART or file.name in (OUTCOME, FAILURE, LOCK)


def _refuse_other_run(folder: Path, config: RunConfig) -> None:
    odd = describe_differences(read_config(folder), config)
    if odd:
        raise ConfigError("name", config.name, f"{folder} holds another run ({odd}); choose another name=")


def describe_differences(there: Mapping[str, Any], config: RunConfig) -> str:
    """What tells the run of this configuration from one with the keys `there`, in words; empty where nothing does."""
    # A key that came into the schema later holds its default in older runs.
    defaults, here = identity(RunConfig()), run_identity(config)
    odd = [k for k, v in here.items() if there.get(k, defaults.get(k)) != v]
    listed = ", ".join(f"{k}={there.get(k, defaults.get(k))} there, {here[k]} here" for k in odd[:3])
    return f"{listed} and {len(odd) - 3} more" if len(odd) > 3 else listed


def read_run(folder: Path) -> tuple[list[EpochRecord], "Outcome | None"]:
    """A run's rows and how it ended; None while it runs or where it was broken off.

    Raises RecordError for a file that cannot be read, and where a run has ended without all of its rows.
    """
    path, outcome = folder / METRICS, read_outcome(folder)
    rows = read_rows(path)
    if outcome is not None and outcome.is_result:
        again = "though the run has ended; move its folder away to train it again"
        if not rows:
            raise RecordError(f"{path}: holds no row, {again}")
        if not _text_of(path).endswith("\n"):
            raise RecordError(f"{path}: line {len(rows) + 2} is torn, {again}")
    return rows, outcome
