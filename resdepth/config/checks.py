"""Checks of single values, for the schema: each raises ConfigError, which names field, value and remedy."""

import math
import re
from contextlib import suppress
from pathlib import Path

from resdepth.errors import ConfigError

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")
# Control characters, and what is left of bytes that are no UTF-8: neither a terminal nor a YAML file takes them.
_UNWRITABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_LONGEST_PATH = 1000


def require(condition: bool, name: str, value: object, remedy: str) -> None:
    if not condition:
        raise ConfigError(name, value, remedy)


def require_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    require(value in choices, name, value, f"choose one of {', '.join(choices)}")


def require_number(name: str, value: float, low: float, high: float, *, open_low: bool = False) -> None:
    inside = math.isfinite(value) and (low < value if open_low else low <= value) and value <= high
    bounds = f"above {low:,}" if open_low else f"at least {low:,}"
    require(inside, name, value, f"needs a number {bounds} and at most {high:,}")


def require_option_name(field_name: str, name: str) -> None:
    remedy = "use letters, digits, '.', '_' and '-', beginning with a letter or digit, at most 80"
    require(not name or NAME.fullmatch(name) is not None, field_name, repr(name), remedy)


def require_path(name: str, path: str) -> None:
    require(bool(path), name, repr(path), "names no place; write the path out, or leave it out")
    require(len(path) <= _LONGEST_PATH, name, repr(path), f"is longer than {_LONGEST_PATH:,} characters; shorten it")
    require(not _UNWRITABLE.search(path), name, repr(path), "holds a control character, or bytes that are no UTF-8")


def expand_path(field: str, path: str) -> Path:
    """The path with `~` replaced by the home folder. Raises ConfigError for what no place can be."""
    try:
        place = Path(path).expanduser()
        with suppress(FileNotFoundError, NotADirectoryError):
            place.stat()
    except RuntimeError as error:
        raise ConfigError(field, path, "names a home folder that does not exist; write the path out") from error
    except OSError as error:
        raise ConfigError(field, path, f"cannot be used ({error.strerror}); name another place") from error
    return place
