"""Parse the command line's Hydra overrides, normalise them, and reject sweeps of unbounded size.

Every function raises ConfigError, which names the override that is wrong.
"""

import math
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import islice

from hydra.core.config_loader import ConfigLoader
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, QuotedString, RangeSweep
from hydra.errors import HydraException, OverrideParseException

from resdepth.config.catalogue import option_files
from resdepth.config.checks import name_of_path
from resdepth.config.keys import COMPUTED_KEYS, PLUGIN_KEY, described_keys, known_keys
from resdepth.config.schema import GROUPS
from resdepth.errors import ConfigError

# Both keep Hydra from filling time and memory after a typing mistake.
_MAX_LENGTH, _MAX_POINTS = 10_000, 10_000
_PATHS = ("data.path", "data.root", "results")
# Hydra's own keys that a sweep may set; the others belong to the program, or would be ignored.
_HYDRA_KEYS = ("hydra/launcher", "hydra.launcher.", "hydra.sweeper.params", "hydra.job.")
_PARSE_REMEDY = (
    "cannot be read as an override; write key=value, and quote what the shell or Hydra would split: "
    "'data.path=\"a b.npz\"'"
)


def parse(line: str, loader: ConfigLoader) -> Override:
    """Parse an override, and reject one that a sweep may not set."""
    field, _, value = line.partition("=")
    try:
        (override,) = _parser(loader).parse_overrides([line])
    # What Hydra's parser raises: for text that is not an override, for 5,000 digits, for a thousand brackets.
    except (OverrideParseException, ValueError, RecursionError) as error:
        raise ConfigError(field, value, _PARSE_REMEDY) from error
    if not override.key_or_group:
        raise ConfigError(field, value, _PARSE_REMEDY)
    _require_settable(override, value, loader)
    return override


@lru_cache(maxsize=1)
def _parser(loader: ConfigLoader) -> OverridesParser:
    return OverridesParser.create(config_loader=loader)


def _require_settable(override: Override, value: str, loader: ConfigLoader) -> None:
    """Reject what deletes a group, chooses no option of one, or sets a key of Hydra's or the program's own."""
    key, is_axis = override.key_or_group, override.is_sweep_override()
    # A file may have that name.
    can_be_null = key in known_keys() and key not in _PATHS and described_keys()[key].values.endswith("or null")
    if value in ("None", "none") and can_be_null:
        raise ConfigError(key, value, f"the word for no value is null; write {key}=null")
    if override.is_delete() and key in ("data", "model", "recipe"):
        raise ConfigError(key, "~", f"a group cannot be deleted; choose another one with {key}=NAME")
    if key in GROUPS and not (override.is_delete() or is_axis or isinstance(override.value(), str)):
        raise ConfigError(key, value, f"choose one of {', '.join(loader.get_group_options(key))}")
    if override.is_hydra_override() and ("_target_" in key or not key.startswith(_HYDRA_KEYS)):
        settable = "hydra/launcher=NAME, hydra.launcher.KEY and hydra.sweeper.params.KEY"
        raise ConfigError(key, value, f"cannot be changed here; you can set {settable}")
    if override.is_hydra_override() and is_axis:
        raise ConfigError(key, value, "Hydra's own keys cannot be swept; give one value, and quote a list")
    if key in COMPUTED_KEYS:
        raise ConfigError(key, value, "is computed by the program from the data's content; leave it out")
    if key == PLUGIN_KEY:
        raise ConfigError(key, value, "is computed by the program; name a file of variants with --plugin FILE")


def normalise_override(line: str, loader: ConfigLoader) -> str:
    """Rewrite an override so that Hydra reads it as a user of this program intends.

    `+depth=8` becomes `depth=8`: Hydra's `+` rejects a key that exists, as every key of the schema does. A path is
    quoted where Hydra's grammar would split it, `data.path=~/images(1).npz`, or read a number, `results=2026.10`.
    """
    bare = line.lstrip("+")
    key, _, value = bare.partition("=")
    if len(line) > _MAX_LENGTH:
        remedy = f"is {len(line):,} characters long; at most {_MAX_LENGTH:,}, an axis as range(from,to,step)"
        raise ConfigError(key, value, remedy)
    if key in (*_PATHS, "name"):
        try:
            needs_quotes = isinstance(parse(bare, loader).value(), bool | int | float)
        except ConfigError:
            needs_quotes = key in _PATHS
        if needs_quotes:
            return f"{key}={quoted(value)}"
    return bare if key in known_keys() or key in GROUPS else line


def quoted(value: str) -> str:
    """Return a value as Hydra reads it, whatever it contains."""
    # In Hydra's quotes a backslash escapes only a quote, and another backslash before one.
    escaped = re.sub(r"(\\*)('|$)", lambda found: 2 * found[1] + found[2].replace("'", "\\'"), value)
    return f"'{escaped}'"


def require_values(lines: Sequence[str]) -> None:
    """Reject a word without `=`, as in `depth 20`. Raises ConfigError, which names the override that is meant."""
    for i, word in enumerate(lines):
        following = "".join(lines[i + 1 : i + 2])
        if word in known_keys() or word in GROUPS:
            value = following if following and "=" not in following else "VALUE"
            raise ConfigError(word, "", f"{word!r} has no value; write {word}={value}")
        groups = [group for group in reversed(GROUPS) if word in option_files(group)]
        if groups:
            raise ConfigError(groups[0], "", f"{word!r} is not KEY=VALUE; did you mean {groups[0]}={word}?")


def name_of_data(given: Mapping[str, Override]) -> str | None:
    """Return the name of the user's own data, that of the file or folder of data.path; None where it has none."""
    path = given["data.path"].value() if "data.path" in given else None
    text = path.text if isinstance(path, QuotedString) else path
    return name_of_path(text) if isinstance(text, str) and "$" not in text else None


def require_bounded_axes(parsed: Sequence[Override]) -> None:
    """Reject an axis without an end or a value, and sweeps of more than 10,000 points."""
    lengths: dict[str, int] = {}
    for override in (o for o in parsed if o.is_sweep_override()):
        field, _, value = (override.input_line or "").partition("=")
        if not override.is_discrete_sweep():
            raise ConfigError(field, value, "is not a list of values; use a,b,c or range(from,to,step) or choice(a,b)")
        if field.lstrip("+") == "experiment":
            raise ConfigError(field, value, "choose one experiment; its axes and keys can be overridden")
        lengths[field] = _count_values(override, field, value)
        if not lengths[field]:
            raise ConfigError(field, value, "the axis is empty; give it at least one value")
        if math.prod(lengths.values()) > _MAX_POINTS:
            remedy = f"makes a sweep of more than {_MAX_POINTS:,} points; give it fewer values, or run several sweeps"
            raise ConfigError(field, value, remedy)


def _count_values(override: Override, field: str, value: str) -> int:
    """Count the values of an axis, at most one more than a sweep may have points."""
    found = override.value()
    try:
        # Hydra's own iterator would write out a range in full before it shuffles it.
        values = found.range() if isinstance(found, RangeSweep) else override.sweep_string_iterator()
        return sum(1 for _ in islice(values, _MAX_POINTS + 1))
    except (ValueError, ArithmeticError, HydraException) as error:
        first = str(error).partition("\n")[0]
        raise ConfigError(field, value, f"is not an axis ({first}); use a,b,c or range(from,to,step)") from error
