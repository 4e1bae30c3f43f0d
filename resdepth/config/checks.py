"""Declarations of keys, with the checks of their values. Each check raises ConfigError: field, value and remedy.

A field of the schema is declared with its default, its meaning and its range,
`lr: float = number(0.1, "learning rate", above=0, most=1000)`. `require_valid` checks the values of an instance;
`config.keys.describe` returns what was declared, for `resdepth show`, README's table and the hints in errors.
"""

import re
import unicodedata
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import field, fields
from pathlib import Path
from typing import Any

from resdepth.errors import ConfigError

_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}"
_NAME_RULE = "letters, digits, '.', '_' and '-', beginning with a letter or digit, at most 80"
# Control characters, and surrogates from bytes that are not UTF-8: neither a terminal nor a YAML file accepts them.
_UNWRITABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def key(
    default: Any, meaning: str, values: str, check: Callable[[str, Any], None] | None = None, *, stands_for: str = ""
) -> Any:
    """Declare a field: its default, its meaning, the values it takes in words, and a check that raises ConfigError.

    `stands_for` says what the program puts in the place of a default that is only a placeholder.
    """
    metadata = {"meaning": meaning, "values": values, "check": check, "stands_for": stands_for}
    if isinstance(default, list):
        return field(default_factory=default.copy, metadata=metadata)
    return field(default=default, metadata=metadata)


def flag(default: bool, meaning: str) -> Any:
    """Declare a field that is true or false."""
    return key(default, meaning, "true or false")


def number(default: float | None, meaning: str, *, least: float | None = None, above: float = 0, most: float) -> Any:
    """Declare a field that is a number of at least `least`, or above `above`, and at most `most`."""
    values = f"above {above:,} and at most {most:,}" if least is None else f"from {least:,} to {most:,}"

    def check(name: str, value: float) -> None:
        is_inside = (value > above if least is None else value >= least) and value <= most
        require(is_inside, name, value, f"needs a number {values}")

    return key(default, meaning, values, check)


def numbers(default: list[Any], meaning: str, is_valid: Callable[[Any], bool], values: str) -> Any:
    """Declare a field that is a list of numbers. An interpolation may put any other value in its place."""
    return key(default, meaning, values, lambda name, value: require(is_valid(value), name, value, f"needs {values}"))


def choice(default: str, meaning: str, options: Collection[str], *, hint: str = "", stands_for: str = "") -> Any:
    """Declare a field that is one of the options: those that the collection holds when a value is checked."""
    check = lambda name, value: require_choice(name, value, options, hint)  # noqa: E731
    *most, last = options
    return key(default, meaning, f"{', '.join(most)} or {last}", check, stands_for=stands_for)


def pattern(default: str, meaning: str, regex: str, values: str) -> Any:
    """Declare a text field that matches the regular expression as a whole."""

    def check(name: str, value: str) -> None:
        require(re.fullmatch(regex, value) is not None, name, repr(value), f"needs {values}")

    return key(default, meaning, values, check)


def file_name(default: str, meaning: str, *, stands_for: str) -> Any:
    """Declare a field that is a file name on any system."""
    regex = _NAME if default else f"{_NAME}|"

    def check(name: str, value: str) -> None:
        require(re.fullmatch(regex, value) is not None, name, repr(value), f"use {_NAME_RULE}")

    return key(default, meaning, "a file name", check, stands_for=stands_for)


def computed(default: Any, meaning: str) -> Any:
    """Declare a field that the program fills in."""
    return key(default, meaning, "computed", stands_for="computed")


def path_name(default: str | None, meaning: str) -> Any:
    """Declare a field that is a path."""

    def check(name: str, value: str) -> None:
        require(bool(value), name, repr(value), "is empty; write the path out, or leave it out")
        require(len(value) <= 1000, name, repr(value), "is longer than 1,000 characters; shorten it")
        is_text = not _UNWRITABLE.search(value)
        require(is_text, name, repr(value), "contains a control character, or bytes that are not UTF-8")

    return key(default, meaning, "a path", check)


def are_milestones(points: Any) -> bool:
    """Whether these are a recipe's milestones: increasing, all fractions of the length or all whole iterations."""
    is_list = isinstance(points, list) and all(isinstance(p, int | float) for p in points)
    is_rising = is_list and points == sorted(set(points))
    return is_rising and (all(0 < p < 1 for p in points) or all(p >= 1 and p % 1 == 0 for p in points))


def are_widths(widths: Any) -> bool:
    """Whether these are a dense net's widths, one for each stage."""
    is_list = isinstance(widths, list) and all(type(width) is int for width in widths)
    return is_list and 1 <= len(widths) <= 16 and all(1 <= width <= 65536 for width in widths)


def require_valid(config: Any, group: str = "") -> None:
    """Apply the checks of all fields of a configuration that are not null. Raises ConfigError."""
    for declared in fields(config):
        value, check = getattr(config, declared.name), declared.metadata.get("check")
        if value is not None and check is not None:
            check(f"{group}{declared.name}", value)


def require(condition: bool, name: str, value: object, remedy: str) -> None:
    """Raises ConfigError unless the condition holds."""
    if not condition:
        raise ConfigError(name, value, remedy)


def require_choice(name: str, value: str, options: Collection[str], hint: str = "") -> None:
    """Raises ConfigError unless the value is one of the options."""
    require(value in options, name, value, f"choose one of {', '.join(options)}{hint}")


def name_of_path(path: str) -> str | None:
    """Return the name of a file, without .npz, or folder as a valid file name; None where nothing is left of it."""
    name = Path(path).name
    if name in ("", ".."):
        with suppress(OSError, RuntimeError, ValueError):
            name = Path(path).expanduser().resolve().name
    name = name[: -len(".npz")] if name.lower().endswith(".npz") else name
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9._-]", "_", plain).lstrip("._-")[:80] or None


def expand_path(field: str, path: str) -> Path:
    """Replace `~` in a path by the home folder. Raises ConfigError for a path that the system does not accept."""
    try:
        expanded = Path(path).expanduser()
        with suppress(FileNotFoundError, NotADirectoryError):
            expanded.stat()
    except RuntimeError as error:
        raise ConfigError(field, path, "names a home folder that does not exist; write the path out") from error
    except (OSError, ValueError) as error:  # ValueError: a null byte
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(field, path, f"cannot be used ({reason}); choose another path") from error
    return expanded
