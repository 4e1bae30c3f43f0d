"""Checks of single values. Each raises ConfigError, which names field, value and remedy.

A field of the schema is declared with its check, `lr: float = number(0.1, above=0, most=1000)`, and `require_valid`
applies the checks of an instance.
"""

import re
from collections.abc import Collection
from contextlib import suppress
from dataclasses import field, fields
from pathlib import Path
from typing import Any

from resdepth.errors import ConfigError

_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}"
# Control characters, and surrogates from bytes that are not UTF-8: neither a terminal nor a YAML file accepts them.
_UNWRITABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def number(default: float | None, *, least: float | None = None, above: float = 0, most: float) -> Any:
    """Declare a field that is a number of at least `least`, or above `above`, and at most `most`."""
    bounds = f"above {above:,}" if least is None else f"at least {least:,}"

    def check(name: str, value: float) -> None:
        is_inside = (value > above if least is None else value >= least) and value <= most
        require(is_inside, name, value, f"needs a number {bounds} and at most {most:,}")

    return field(default=default, metadata={"check": check})


def choice(default: str, options: Collection[str]) -> Any:
    """Declare a field that is one of the options: those that the collection holds when a value is checked."""
    return field(default=default, metadata={"check": lambda name, value: require_choice(name, value, options)})


def pattern(default: str, regex: str, remedy: str) -> Any:
    """Declare a text field that matches the regular expression as a whole."""

    def check(name: str, value: str) -> None:
        require(re.fullmatch(regex, value) is not None, name, repr(value), remedy)

    return field(default=default, metadata={"check": check})


def file_name(default: str, what: str) -> Any:
    """Declare a field that is a file name on any system."""
    rule = "letters, digits, '.', '_' and '-', beginning with a letter or digit, at most 80"
    return pattern(default, _NAME if default else f"{_NAME}|", f"{what} {rule}")


def path_name(default: str | None) -> Any:
    """Declare a field that is a path."""

    def check(name: str, value: str) -> None:
        require(bool(value), name, repr(value), "is empty; write the path out, or leave it out")
        require(len(value) <= 1000, name, repr(value), "is longer than 1,000 characters; shorten it")
        is_text = not _UNWRITABLE.search(value)
        require(is_text, name, repr(value), "contains a control character, or bytes that are not UTF-8")

    return field(default=default, metadata={"check": check})


def require_valid(config: Any, group: str = "") -> None:
    """Apply the checks of all fields of a configuration that are not null. Raises ConfigError."""
    for declared in fields(config):
        value = getattr(config, declared.name)
        if value is not None and "check" in declared.metadata:
            declared.metadata["check"](f"{group}{declared.name}", value)


def require(condition: bool, name: str, value: object, remedy: str) -> None:
    """Raises ConfigError unless the condition holds."""
    if not condition:
        raise ConfigError(name, value, remedy)


def require_choice(name: str, value: str, options: Collection[str]) -> None:
    """Raises ConfigError unless the value is one of the options."""
    require(value in options, name, value, f"choose one of {', '.join(options)}")


def expand_path(field: str, path: str) -> Path:
    """Replace `~` in a path by the home folder. Raises ConfigError for a path that the system does not accept."""
    try:
        expanded = Path(path).expanduser()
        with suppress(FileNotFoundError, NotADirectoryError):
            expanded.stat()
    except RuntimeError as error:
        raise ConfigError(field, path, "names a home folder that does not exist; write the path out") from error
    except OSError as error:
        raise ConfigError(field, path, f"cannot be used ({error.strerror}); choose another path") from error
    return expanded
