"""The options of the groups, read from their YAML files without Hydra: a line about each, and what it sets.

Hydra composes configurations (`config.compose`); this is what `resdepth show`, README's table of keys and the shell's
completion need, within a tenth of a second.
"""

from itertools import takewhile
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from resdepth.config.checks import expand_path
from resdepth.config.keys import Key, described_keys, flatten, written
from resdepth.config.schema import GROUPS
from resdepth.errors import ConfigError


class Option(NamedTuple):
    """An option of a group, as its YAML file states it."""

    group: str
    name: str
    file: Path
    comment: str  # the file's header, one line
    base: str | None  # the option of the same group that it builds on
    values: dict[str, Any]  # dotted keys, and the groups that an experiment chooses
    axes: dict[str, str]  # what an experiment sweeps over


def config_folder() -> Path:
    """Return the folder of the YAML files: `configs/` in a checkout, `resdepth/config/yaml/` in an installed wheel."""
    here = Path(__file__).resolve().parent
    for folder in (here / "yaml", here.parent.parent / "configs"):
        if (folder / "config.yaml").is_file():
            return folder
    raise ConfigError("configs", here, "the installation lacks its YAML files; install resdepth again")


def user_folder(config_dir: Path | None) -> Path | None:
    """Return the folder of the user's own YAML files, `~` expanded. Raises ConfigError for one that cannot be used."""
    if config_dir is None:
        return None
    folder = expand_path("--config-dir", str(config_dir))
    if not folder.is_dir():
        raise ConfigError("--config-dir", config_dir, "is not a folder; name one that holds data/, recipe/, ...")
    if (folder / "config.yaml").exists():
        raise ConfigError("--config-dir", config_dir, "contains a config.yaml, the program's own; rename or remove it")
    return folder


def option_files(group: str, config_dir: Path | None = None) -> dict[str, Path]:
    """Return the files of a group's options by name, sorted; a file of the user's replaces one of the same name."""
    folders = [config_folder(), *([expand_path("--config-dir", str(config_dir))] if config_dir else [])]
    found = {file.stem: file for folder in folders for file in (folder / group).glob("*.yaml")}
    return dict(sorted(found.items()))


def options(group: str, config_dir: Path | None = None) -> dict[str, Option]:
    """Return the options of a group by name. Raises ConfigError for a file that is not a YAML mapping."""
    return {name: read_option(group, file) for name, file in option_files(group, config_dir).items()}


def default_sweep() -> Option:
    """Return what configs/config.yaml sets: the axes of a sweep without an experiment."""
    return read_option("", config_folder() / "config.yaml")


def read_option(group: str, file: Path) -> Option:
    """Read one YAML file. Raises ConfigError unless it is a mapping."""
    try:
        text = file.read_text(encoding="utf-8")
        tree = yaml.safe_load(text) or {}
        defaults = list(tree.pop("defaults", None) or ())
        values = dict(flatten(tree))
    except (OSError, ValueError, TypeError, AttributeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError("--config-dir", file, f"cannot be read as YAML ({reason}); fix or remove the file") from error
    header = takewhile(lambda line: line.startswith("#"), text.splitlines())
    comment = " ".join(line[1:].strip() for line in header if "@package" not in line)
    bases = [entry for entry in defaults if isinstance(entry, str) and entry != "_self_"] if group else []
    # `override /data: digits` in an experiment's defaults.
    overridden = [pair for entry in defaults if isinstance(entry, dict) for pair in entry.items()]
    chosen = {key.removeprefix("override").strip(" /"): str(value) for key, value in overridden}
    prefix = "" if group in ("", "experiment") else f"{group}."
    sweeper = "hydra.sweeper.params."
    return Option(
        group,
        file.stem,
        file,
        comment,
        base=bases[0] if bases else None,
        values={key: value for key, value in chosen.items() if key in GROUPS}
        | {f"{prefix}{key}": value for key, value in values.items() if not key.startswith("hydra.")},
        axes={key.removeprefix(sweeper): str(axis) for key, axis in values.items() if key.startswith(sweeper)},
    )


def lineage(group: str, name: str, config_dir: Path | None = None) -> list[Option]:
    """Return an option and those that it builds on, the base first: [short, mnist]."""
    known = option_files(group, config_dir)
    chain: list[Option] = []
    while name in known and name not in [option.name for option in chain]:
        chain.insert(0, read_option(group, known[name]))
        name = chain[0].base or ""
    return chain


def explained_keys(config_dir: Path | None = None) -> list[Key]:
    """Return every group and key; the default with, in brackets, what a sweep and the options of its group set."""
    own = {group: options(group, config_dir) for group in GROUPS}
    sweep = default_sweep()
    defaults = {**sweep.values, "recipe": "that of the data", "experiment": "none"}
    groups = {group: Key(group, GROUPS[group], defaults[group], ", ".join(own[group])) for group in GROUPS}
    found: dict[str, list[Key]] = {"": [], **{group: [key] for group, key in groups.items()}}
    for name, key in described_keys().items():
        group = name.rpartition(".")[0]
        others = {"sweep": sweep.axes[name]} if name in sweep.axes else _set_by_options(name, own.get(group, {}))
        brackets = "; ".join(f"{setters}: {value}" for setters, value in others.items())
        found[group].append(key._replace(default=f"{key.default} ({brackets})" if brackets else key.default))
    return [key for part in ("", "experiment", "data", "model", "recipe") for key in found[part]]


def _set_by_options(name: str, own: dict[str, Option]) -> dict[str, str]:
    """Return the options that set a key, joined, with their value; none where every one sets it."""
    setters: dict[str, list[str]] = {}
    for option in own.values():
        if name in option.values:
            setters.setdefault(written(option.values[name]), []).append(option.name)
    if sum(map(len, setters.values())) == len(own):
        return {}
    return {", ".join(names): value for value, names in setters.items()}
