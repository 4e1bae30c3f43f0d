"""The words of the command line as Hydra's overrides: each read by itself, said as it is meant, within bounds.

Raises ConfigError, which names the word that is wrong.
"""

import math
import re
from collections.abc import Iterable, Sequence
from itertools import islice

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, RangeSweep
from hydra.errors import HydraException, OverrideParseException

from resdepth.config.keys import known_keys
from resdepth.config.schema import GROUPS
from resdepth.errors import ConfigError

# Both keep Hydra from filling time and memory with a slip of the keyboard.
_LONGEST, _MOST_POINTS = 10_000, 10_000
_PATHS = ("data.path", "data.root", "results")
# What of Hydra's own a sweep may set; the rest belongs to the program, or would be ignored.
_HYDRAS = ("hydra/launcher", "hydra.launcher.", "hydra.sweeper.params", "hydra.job.")
# What Hydra's parser raises: on what is no override, on 5,000 digits, on a thousand brackets.
_UNPARSED = (OverrideParseException, ValueError, RecursionError)
_READ_AS = "cannot be read as an override; write key=value, and quote what the shell or Hydra would split: "
_READ_AS += "'data.path=\"a b.npz\"'"


def parse(lines: Iterable[str], loader: ConfigLoader | None = None) -> list[Override]:
    """The overrides of these lines, in order."""
    parser = OverridesParser.create(config_loader=loader)
    return [_parse_line(line, parser) for line in lines]


def _parse_line(line: str, parser: OverridesParser) -> Override:
    field, _, value = line.partition("=")
    try:
        (override,) = parser.parse_overrides([line])
    except _UNPARSED as error:
        raise ConfigError(field, value, _READ_AS) from error
    if not override.key_or_group:
        raise ConfigError(field, value, _READ_AS)
    return override


def normalise_override(line: str) -> str:
    """An override as a user of this program means it.

    `+depth=8` is `depth=8`: Hydra's `+` refuses a key that exists, and here every key of the schema does. A path is
    quoted where Hydra's grammar would trip over it, `data.path=~/images(1).npz`, or read a number, `results=2026.10`.
    """
    bare = line.lstrip("+")
    key, _, value = bare.partition("=")
    if len(line) > _LONGEST:
        remedy = f"is {len(line):,} characters long; at most {_LONGEST:,}, an axis as range(from,to,step)"
        raise ConfigError(key, value, remedy)
    if key not in known_keys() and key not in GROUPS:
        return line
    if key in (*_PATHS, "name"):
        try:
            is_quoted = isinstance(parse([bare])[0].value(), bool | int | float)
        except ConfigError:
            is_quoted = key in _PATHS
        if is_quoted:
            # In Hydra's quotes a backslash is one, but before a quote.
            escaped = re.sub(r"(\\*)('|$)", lambda found: 2 * found[1] + found[2].replace("'", "\\'"), value)
            return f"{key}='{escaped}'"
    return bare


def is_launcher_override(override: Override) -> bool:
    """Whether the launch must hear of it: all of Hydra's own overrides but the axes."""
    return override.is_hydra_override() and not override.key_or_group.startswith("hydra.sweeper.params")


def check_keys(parsed: Sequence[Override], loader: ConfigLoader) -> None:
    """Refuse what would delete a group, choose no option of one, or set what is Hydra's or the program's own."""
    for override in parsed:
        key, (_, _, value) = override.key_or_group, (override.input_line or "").partition("=")
        if override.is_delete() and key in ("data", "model", "recipe"):
            raise ConfigError(key, "~", f"a group cannot be deleted; choose another one with {key}=NAME")
        is_choice = override.is_delete() or override.is_sweep_override() or isinstance(override.value(), str)
        if key in GROUPS and not is_choice:
            raise ConfigError(key, value, f"choose one of {', '.join(loader.get_group_options(key))}")
        if override.is_hydra_override() and ("_target_" in key or not key.startswith(_HYDRAS)):
            remedy = (
                "is not for a sweep to set; hydra/launcher=NAME, hydra.launcher.KEY and hydra.sweeper.params.KEY are"
            )
            raise ConfigError(key, value, remedy)
        if key == "data.fingerprint":
            raise ConfigError(key, value, "is filled in by the program, from the data's content; leave it out")


def check_axes(parsed: Sequence[Override]) -> None:
    """Refuse an axis without an end or a value, and more points than anybody trains."""
    lengths: dict[str, int] = {}
    for override in (o for o in parsed if o.is_sweep_override()):
        field, _, value = (override.input_line or "").partition("=")
        if override.is_hydra_override():
            raise ConfigError(field, value, "Hydra's own settings are no axis; give one value, a list in quotes")
        if not override.is_discrete_sweep():
            raise ConfigError(field, value, "is no list of values; write a,b,c or range(from,to,step) or choice(a,b)")
        if field.lstrip("+") == "experiment":
            raise ConfigError(field, value, "one experiment at a time; name=... and its axes can be overridden")
        lengths[field] = _length(override, field, value)
        if not lengths[field]:
            raise ConfigError(field, value, "the axis is empty; give it at least one value")
        if math.prod(lengths.values()) > _MOST_POINTS:
            remedy = f"makes a sweep of more than {_MOST_POINTS:,} points; give it fewer values, or say several sweeps"
            raise ConfigError(field, value, remedy)


def _length(override: Override, field: str, value: str) -> int:
    """How many values the axis has, counted no further than it may have."""
    found = override.value()
    try:
        # Not Hydra's own iterator, which writes out a range before it shuffles it.
        values = found.range() if isinstance(found, RangeSweep) else override.sweep_string_iterator()
        return sum(1 for _ in islice(values, _MOST_POINTS + 1))
    except (ValueError, ArithmeticError, HydraException) as error:
        first = str(error).partition("\n")[0]
        raise ConfigError(field, value, f"is no axis ({first}); write a,b,c or range(from,to,step)") from error
