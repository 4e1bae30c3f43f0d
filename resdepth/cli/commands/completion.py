"""The shell's completion of overrides, of names that `show` explains, and of folders. Needs no Hydra."""

import os
import re
from pathlib import Path

from typer import Context

from resdepth.config import catalogue
from resdepth.config.keys import described_keys
from resdepth.config.schema import GROUPS
from resdepth.variants import VARIANTS


def complete_override(context: Context, incomplete: str) -> list[str]:
    """Complete a key, or the value after `key=`. Where only one key is left, its values are offered with it."""
    config_dir = context.params.get("config_dir")
    key, equals, given = incomplete.partition("=")
    if equals:
        return [f"{key}={value}" for value in _complete_value(key, given, config_dir)]
    # In bash `=` ends a word: of `data=ci` only `ci` is to be completed.
    words, index = os.environ.get("COMP_WORDS", "").split("\n"), int(os.environ.get("COMP_CWORD", "0"))
    if index >= 3 and words[index - 1] == "=":
        return _complete_value(words[index - 2], incomplete, config_dir)
    keys = [key for key in (*GROUPS, *described_keys()) if key.startswith(incomplete)]
    # A single candidate would end the word with a space.
    return [
        f"{key}={v}" for key in keys for v in ("", *(_complete_value(key, "", config_dir) if len(keys) == 1 else ()))
    ]


def _complete_value(key: str, given: str, config_dir: Path | None) -> list[str]:
    """Return the values of a key that complete `given`, of which only what follows the last comma is incomplete."""
    before = given[: given.rfind(",") + 1]
    if key in GROUPS:
        values = list(catalogue.option_files(key, config_dir))
    elif key in described_keys():
        # What is not a single word describes values: "from 0 to 64".
        values = [v for v in re.split(", | or ", described_keys()[key].values) if not set(v) & set(" :")]
        values = values or [v for v in (described_keys()[key].default,) if " " not in v and "path" not in key]
    else:
        values = []
    return [before + value for value in values if (before + value).startswith(given)]


def complete_name(context: Context, incomplete: str) -> list[str]:
    """Complete what `resdepth show` explains."""
    if "=" in incomplete or "=" in os.environ.get("COMP_WORDS", ""):
        return complete_override(context, incomplete)
    names = [*GROUPS, "keys", *described_keys(), *VARIANTS]
    names += [option for group in GROUPS for option in catalogue.option_files(group, context.params.get("config_dir"))]
    return sorted({name for name in names if name.startswith(incomplete)})


def complete_target(context: Context, incomplete: str) -> list[str]:
    """Complete what a probe measures: a folder, or an override."""
    return [*complete_folder(incomplete), *complete_override(context, incomplete)]


def complete_folder(incomplete: str) -> list[str]:
    """Complete a folder; where only one is left, the folders in it are offered with it."""
    found = _folders(incomplete)
    return found if len(found) != 1 else [*found, *_folders(f"{found[0]}/")]


def _folders(start: str) -> list[str]:
    head, _, last = start.rpartition("/")
    base = f"{head}/" if "/" in start else ""
    try:
        entries = sorted(Path(base or ".").expanduser().iterdir())
    except OSError:
        return []
    names = (entry.name for entry in entries if entry.is_dir())
    return [f"{base}{n}" for n in names if n.startswith(last) and (last.startswith(".") or not n.startswith("."))]
