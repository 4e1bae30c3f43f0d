"""Hydra's and OmegaConf's errors as one line: field, value, remedy."""

import difflib
import typing
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import yaml
from hydra.core.config_loader import ConfigLoader
from hydra.core.config_store import ConfigLoadError, ConfigStore
from hydra.errors import HydraException, MissingConfigException
from omegaconf.errors import InterpolationResolutionError, OmegaConfBaseException, ValidationError

from resdepth.config.keys import described_keys, flatten, known_keys
from resdepth.config.schema import GROUPS, RunConfig
from resdepth.errors import ConfigError

# Keys of other programs, and the key or the reason here.
_ALIASES = {
    **dict.fromkeys(("learning_rate", "rate"), "recipe.lr"),
    **dict.fromkeys(("layers", "n_layers", "num_layers"), "depth"),
    **dict.fromkeys(("max_epochs", "num_epochs", "n_epochs"), "recipe.epochs"),
    **dict.fromkeys(("steps", "max_steps"), "recipe.iterations"),
    **dict.fromkeys(("jobs", "n_jobs", "num_workers", "workers"), "runs_per_job"),
    **dict.fromkeys(("batch", "bs"), "recipe.batch_size"),
    **dict.fromkeys(("wd", "l2"), "recipe.weight_decay"),
    **dict.fromkeys(("out", "output", "output_dir"), "results"),
    **dict.fromkeys(("gpu", "gpus", "accelerator"), "device"),
    "dataset": "data",
}
_SGD = "nets are trained by SGD with momentum, as in the paper; set recipe.lr, recipe.momentum or recipe.weight_decay"
_SCHEDULE = "the rate is multiplied by recipe.gamma at each of recipe.milestones; set those"
_REASONS = {
    **dict.fromkeys(("optimizer", "optimiser", "optim", "nesterov", "betas"), _SGD),
    **dict.fromkeys(("scheduler", "lr_scheduler", "lr_schedule", "schedule"), _SCHEDULE),
    "dropout": "the paper's nets have no dropout; recipe.weight_decay regularises",
}
# Launchers that are plugins of Hydra: the package, and the extra of this program that installs it.
_LAUNCHERS = {
    "joblib": ("hydra-joblib-launcher", "joblib"),
    **dict.fromkeys(("submitit_slurm", "submitit_local"), ("hydra-submitit-launcher", "slurm")),
    **dict.fromkeys(("ray", "ray_aws"), ("hydra-ray-launcher", "ray")),
}
_HELP = "resdepth sweep --help shows how overrides are written"
_TYPES = {int: "a whole number", float: "a number"}


@contextmanager
def one_line_errors(loader: ConfigLoader, overrides: Sequence[str]) -> Iterator[None]:
    """Convert Hydra's, OmegaConf's and YAML's errors inside the block to ConfigError."""
    try:
        yield
    except MissingConfigException as error:
        raise _missing_option(loader, error, overrides) from error
    except (HydraException, OmegaConfBaseException) as error:
        raise _convert(error, overrides) from error
    except yaml.YAMLError as error:
        raise ConfigError("--config-dir", "YAML", f"a file cannot be read: {' '.join(str(error).split())}") from error
    # OSError where a key is too long for a file name, AssertionError where an interpolation does not name an option.
    except (ValueError, IndexError, AssertionError, OSError, RecursionError) as error:
        reason = str(error).partition("\n")[0] or type(error).__name__
        reason = "something is nested too deeply, or includes itself" if isinstance(error, RecursionError) else reason
        raise ConfigError("overrides", " ".join(overrides), f"Hydra cannot use this ({reason}); {_HELP}") from error


def unknown_key(key: str) -> str:
    """Return the remedy for a key that the schema lacks."""
    last = key.rpartition(".")[2]
    if key.startswith("hydra."):
        close = difflib.get_close_matches(last, _launcher_keys(), n=1)
        meant = f"did you mean hydra.launcher.{close[0]}? " if close else ""
        return f"Hydra has no such key; {meant}the keys of hydra.launcher come with hydra/launcher=NAME"
    if last in _REASONS:
        return f"no such key; {_REASONS[last]}"
    names = [*known_keys(), *GROUPS]
    close = [_ALIASES[last]] if last in _ALIASES else []
    close = close or difflib.get_close_matches(key, names, n=1) or [n for n in names if n.rpartition(".")[2] == key][:1]
    return f"no such key; did you mean {close[0]}?" if close else "no such key; resdepth show keys lists them"


def _launcher_keys() -> list[str]:
    """Return the keys of Slurm's launcher; none where it is not installed."""
    try:
        return [str(key) for key in ConfigStore.instance().load("hydra/launcher/submitit_slurm.yaml").node]
    except ConfigLoadError:
        return []


def _required_type(key: str) -> str:
    """Describe what a key's value must be, from the schema's types and ranges."""
    if key.startswith("hydra.launcher."):
        return "needs a value of another type, such as 240 for timeout_min (minutes) or 16 for mem_gb"
    if key not in known_keys():
        return "cannot take this value; resdepth sweep --help shows how it is written"
    kind: typing.Any = RunConfig
    for part in key.split("."):
        kind = typing.get_type_hints(kind)[part]
    if typing.get_origin(kind) is list:
        default = dict(flatten(RunConfig()))[key]
        return f"needs a list, such as [{','.join(map(str, default))}]"
    number = _TYPES.get((typing.get_args(kind) or (kind,))[0])  # of `int | None`, or the type itself
    values = described_keys()[key].values
    is_range = values.startswith(("from ", "above "))
    return f"needs {number}{' ' if is_range else ': '}{values}" if number else f"needs {values}"


def _missing_option(loader: ConfigLoader, error: MissingConfigException, overrides: Sequence[str]) -> ConfigError:
    file = error.missing_cfg_file or "config"
    group = next((g for g in GROUPS if file.startswith(f"{g}/")), file.rpartition("/")[0])
    option = file.removeprefix(f"{group}/")
    options = ", ".join(loader.get_group_options(group)) if group else ""
    if group == "hydra/launcher" and option in _LAUNCHERS:
        package, extra = _LAUNCHERS[option]
        remedy = f"this launcher is not installed; pip install {package} (or resdepth[{extra}])"
        return ConfigError(group, option, remedy)
    remedy = f"choose one of {options}" if options else "no such option; --config-dir DIR adds YAML files of your own"
    if group == "hydra/launcher":
        others = [name for name in _LAUNCHERS if name not in options.split(", ")]
        remedy += f"; with packages that are not installed, {', '.join(others)}" if others else ""
    given = {part: value for part, _, value in (o.lstrip("+").partition("=") for o in overrides)}
    if group == "recipe" and "recipe" not in given and option in given.get("data", "").split(","):
        remedy = f"data={option} has no recipe of its own; set recipe=NAME, one of {options}"
    elif group == "recipe" and option in ("adam", "adamw", "sgd"):
        remedy += f"; {_SGD}"
    return ConfigError(group, option, remedy)


def _convert(error: BaseException, overrides: Sequence[str]) -> ConfigError:
    where = str(error).partition(":")[0]
    if where.startswith("In '") and isinstance(error.__context__, OmegaConfBaseException):
        # Hydra names the YAML file, OmegaConf its key.
        inner = _convert(error.__context__, overrides)
        if inner.field:
            return ConfigError(inner.field, "?", f"{where[3:]} sets it: {inner.remedy}")
        return ConfigError("--config-dir", where[3:], "is not a mapping of keys to values; write KEY: VALUE in it")
    if isinstance(error.__cause__, OmegaConfBaseException):
        error = error.__cause__
    key = (getattr(error, "full_key", None) or "").partition("[")[0]
    given = [o.partition("=")[2] for o in overrides if o.partition("=")[0].lstrip("+~") == key]
    value = given[-1] if given else "?"
    first = str(error).strip().splitlines()[0]
    if isinstance(error, InterpolationResolutionError):  # some of which are ValidationErrors too
        return ConfigError(key or "overrides", value, f"the interpolation fails: {first}")
    if isinstance(error, ValidationError):
        return ConfigError(key, value, _required_type(key))
    remedy = f"{first.rstrip('.')}; {_HELP}"
    if "does not support deletion" in first:
        value, remedy = "~", "a key of the schema cannot be deleted; set it to another value, or to null"
    elif key and ("not in" in first or "Key '" in first):
        remedy = unknown_key(key)
    return ConfigError(key or "overrides", value if key else " ".join(overrides), remedy)
