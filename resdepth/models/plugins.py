"""Variants from a user's own file: `--plugin my_variants.py` executes it and adds its VARIANTS to the built-in ones.

    from resdepth.variants import Variant

    VARIANTS = {"half": Variant(lambda z, a: z + 0.5 * a, has_shortcut=True)}

A file is executed only where it is named. Worker processes receive its content, not its path: a file that is edited
while a sweep runs does not change the sweep.
"""

import re
import sys
import traceback
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import Any

from resdepth.config.checks import expand_path
from resdepth.errors import ConfigError
from resdepth.variants import VARIANTS, Variant

_OPTION = "--plugin"
_EXAMPLE = 'VARIANTS = {"half": Variant(lambda z, a: z + 0.5 * a, has_shortcut=True)}'
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,39}")
# What Hydra reads as a number or a constant and not as a name.
_CONSTANTS = ("null", "true", "false", "nan", "inf")


@dataclass(frozen=True)
class Plugin:
    """A file of variants: its path as it was given, and its content."""

    path: str
    source: bytes

    @property
    def digest(self) -> str:
        """SHA-256 of the content, which is part of the identity of its variants' runs."""
        return sha256(self.source).hexdigest()


_active: list[Plugin] = []


def use_plugins(paths: str | Path | Iterable[str | Path]) -> None:
    """Read these files and make their variants known, and those of no other file. Raises ConfigError."""
    activate([_read(str(path)) for path in ([paths] if isinstance(paths, str | Path) else paths)])


def active_plugins() -> tuple[Plugin, ...]:
    """Return the plugins whose variants are known, for `activate` in another process."""
    return tuple(_active)


def plugin_paths(variants: Iterable[str]) -> list[str]:
    """Return the paths of the active plugins that define these variants."""
    digests = {VARIANTS[name].plugin for name in variants}
    return [plugin.path for plugin in _active if plugin.digest in digests]


def activate(plugins: Sequence[Plugin]) -> None:
    """Execute the plugins and make their variants known, and those of no other file. Raises ConfigError."""
    distinct = list(dict.fromkeys(plugins))
    if distinct == _active:
        return
    found = {name: variant for name, variant in VARIANTS.items() if not variant.plugin}
    for plugin in distinct:
        for name, variant in _variants(plugin).items():
            if name.lower() in map(str.lower, found):
                raise ConfigError(_OPTION, plugin.path, f"there is a variant {name} already; give it another name")
            found[name] = replace(variant, plugin=plugin.digest)
    # In place: the schema's check holds this table.
    VARIANTS.clear()
    VARIANTS.update(found)
    _active[:] = distinct


def _read(path: str) -> Plugin:
    file = expand_path(_OPTION, path)
    # Pipes and devices are not files: reading one might never end.
    if not file.is_file():
        problem = "is not a file" if file.exists() else "does not exist"
        raise ConfigError(_OPTION, path, f"{problem}; name a Python file that defines VARIANTS")
    try:
        return Plugin(path, file.read_bytes())
    except OSError as error:
        raise ConfigError(_OPTION, path, f"cannot be read ({error.strerror}); fix that") from error


def _variants(plugin: Plugin) -> dict[str, Variant]:
    """Return the variants that a plugin defines, validated."""
    found = _execute(plugin).get("VARIANTS")
    if not isinstance(found, dict) or not found:
        problem = "VARIANTS is empty" if found == {} else "VARIANTS is not a dictionary of variants"
        problem = "defines no VARIANTS" if found is None else problem
        raise ConfigError(_OPTION, plugin.path, f"{problem}; write {_EXAMPLE}")
    for name, variant in found.items():
        if not isinstance(name, str) or not _NAME.fullmatch(name) or name.lower() in _CONSTANTS:
            rule = "letters, digits, '-' and '_', beginning with a letter, at most 40"
            raise ConfigError(_OPTION, plugin.path, f"{name!r} cannot name a variant; use {rule}")
        is_variant = isinstance(variant, Variant) and callable(variant.join) and isinstance(variant.has_shortcut, bool)
        if not is_variant:
            remedy = "use Variant(FUNCTION, has_shortcut=True or False), from resdepth.variants import Variant"
            raise ConfigError(_OPTION, plugin.path, f"{name} is not a variant; {remedy}")
    return found


def _execute(plugin: Plugin) -> dict[str, Any]:
    """Return the names that a plugin's file defines."""
    module = ModuleType(f"resdepth_plugin_{plugin.digest[:8]}")
    module.__file__ = plugin.path
    # Where dataclasses and torch.compile look for it.
    sys.modules[module.__name__] = module
    before = dict(VARIANTS)
    try:
        exec(compile(plugin.source, plugin.path, "exec", dont_inherit=True), module.__dict__)
    except (Exception, SystemExit) as error:
        raise ConfigError(_OPTION, plugin.path, f"cannot be imported ({_describe(error, plugin)}); fix it") from error
    finally:
        names = dict(module.__dict__)
        if names.get("VARIANTS") is VARIANTS:  # the built-in table, imported and added to
            names["VARIANTS"] = {name: variant for name, variant in VARIANTS.items() if before.get(name) != variant}
        VARIANTS.clear()
        VARIANTS.update(before)
    return names


def _describe(error: BaseException, plugin: Plugin) -> str:
    """Return kind, message and, if it is known, the line of the file."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == plugin.path]
    number = error.lineno if isinstance(error, SyntaxError) else (lines or [None])[-1]
    message = error.msg if isinstance(error, SyntaxError) else " ".join(str(error).split())
    return f"{type(error).__name__}{f' in line {number}' if number else ''}{f': {message}' if message else ''}"
