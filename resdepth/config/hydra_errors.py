"""Hydra's and OmegaConf's errors, said as one line: field, value, remedy."""

import difflib
import typing
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import yaml
from hydra.core.config_loader import ConfigLoader
from hydra.errors import HydraException, MissingConfigException
from omegaconf.errors import InterpolationResolutionError, OmegaConfBaseException, ValidationError

from resdepth.config.keys import known_keys
from resdepth.config.schema import GROUPS, RunConfig
from resdepth.errors import ConfigError


def unknown_key(key: str) -> str:
    """What to say of a key that the schema lacks."""
    if key.startswith("hydra."):
        return "Hydra has no such key; the keys of hydra.launcher come with hydra/launcher=NAME"
    names = [*known_keys(), *GROUPS]
    close = difflib.get_close_matches(key, names, n=1) or [n for n in names if n.rpartition(".")[2] == key][:1]
    return f"no such key; did you mean {close[0]}?" if close else "no such key; resdepth sweep --help lists the keys"


def _needed(key: str) -> str:
    """What a key's value must be, in words, from the schema's types."""
    if key not in known_keys():
        return "cannot take this value; resdepth sweep --help shows how it is written"
    kind: typing.Any = RunConfig
    for part in key.split("."):
        kind = typing.get_type_hints(kind).get(part, object)
    optional = type(None) in typing.get_args(kind)
    kinds = [k for k in typing.get_args(kind) or (kind,) if k is not type(None)]
    if typing.get_origin(kind) is list:
        return "needs a list, such as [0.5,0.75]"
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}
    return f"needs {words.get(kinds[0], 'keys of its own')}{' or null' if optional else ''}"


@contextmanager
def one_line_errors(loader: ConfigLoader, overrides: Sequence[str]) -> Iterator[None]:
    """Say Hydra's and OmegaConf's errors as one line: field, value, remedy."""
    try:
        yield
    except MissingConfigException as error:
        raise _missing(loader, error) from error
    except (HydraException, OmegaConfBaseException) as error:
        raise _translated(error, overrides) from error
    except yaml.YAMLError as error:
        raise ConfigError("--config-dir", "YAML", f"a file cannot be read: {' '.join(str(error).split())}") from error
    except (ValueError, IndexError, OSError, RecursionError) as error:  # OSError where a key is too long for a file
        reason = str(error).partition("\n")[0]
        reason = "something is nested too deeply, or includes itself" if isinstance(error, RecursionError) else reason
        raise ConfigError("overrides", " ".join(overrides), f"Hydra cannot use this ({reason}); {_SEE}") from error


_SEE = "resdepth sweep --help shows how overrides are written"


def _missing(loader: ConfigLoader, error: MissingConfigException) -> ConfigError:
    file = error.missing_cfg_file or "config"
    group = next((g for g in GROUPS if file.startswith(f"{g}/")), file.rpartition("/")[0])
    option = file.removeprefix(f"{group}/")
    options = ", ".join(loader.get_group_options(group)) if group else ""
    remedy = f"choose one of {options}" if options else "no such option; --config-dir DIR adds YAML files of your own"
    if group == "recipe":
        remedy += f"; or, where data={option} has no recipe of its own, say recipe=NAME"
    return ConfigError(group, option, remedy)


def _translated(error: BaseException, overrides: Sequence[str]) -> ConfigError:
    where = str(error).partition(":")[0]
    if where.startswith("In '") and isinstance(error.__context__, OmegaConfBaseException):
        # A YAML file is named by Hydra, its key by OmegaConf.
        said = _translated(error.__context__, overrides)
        whole = ConfigError("--config-dir", where[3:], "is no mapping of keys to values; write KEY: VALUE in it")
        return ConfigError(said.field, "?", f"{where[3:]} sets it: {said.remedy}") if said.field else whole
    if isinstance(error.__cause__, OmegaConfBaseException):
        error = error.__cause__
    key = (getattr(error, "full_key", None) or "").partition("[")[0]
    given = [o.partition("=")[2] for o in overrides if o.partition("=")[0].lstrip("+~") == key]
    value = given[-1] if given else "?"
    first = str(error).strip().splitlines()[0]
    if isinstance(error, InterpolationResolutionError):
        return ConfigError(key or "overrides", value, f"the interpolation fails: {first}")
    if isinstance(error, ValidationError):
        return ConfigError(key, value, _needed(key))
    if "does not support deletion" in first:
        return ConfigError(key, "~", "a key of the schema cannot be deleted; set it to another value, or to null")
    if key and ("not in" in first or "Key '" in first):
        return ConfigError(key, value, unknown_key(key))
    return ConfigError(key or "overrides", value if key else " ".join(overrides), f"{first.rstrip('.')}; {_SEE}")
