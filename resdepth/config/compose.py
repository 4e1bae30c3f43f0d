"""Hydra composition: from overrides to the validated RunConfig of every point of a sweep. No DictConfig leaves it.

A sweep is expanded and validated as a whole, before anything runs. `hydra._internal` is used in this module alone:
Hydra 1.3 has no public way to compose a sweep's points without launching them, hence the pin `hydra-core<1.4`.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from hydra import initialize_config_dir
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_loader import ConfigLoader
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from resdepth.config.checks import expand_path
from resdepth.config.hydra_errors import one_line_errors, unknown_key
from resdepth.config.keys import flatten, identity, known_keys
from resdepth.config.overrides import (
    is_launcher_override,
    normalise_override,
    parse,
    require_allowed_keys,
    require_bounded_axes,
)
from resdepth.config.schema import GROUPS, USER_SOURCES, DataConfig, ModelConfig, RecipeConfig, RunConfig
from resdepth.errors import ConfigError

_LENGTHS = {"recipe.epochs": "recipe.iterations", "recipe.iterations": "recipe.epochs"}
# Keys that a run's directory names anyway, or that follow from a group's option.
_NAMED = ("depth", "variant", "seed", "data.name", "model.name", "recipe.name")


@dataclass(frozen=True)
class Point:
    """One point of a sweep: its configuration, and its (key, value) pairs that differ from the defaults."""

    config: RunConfig
    non_defaults: tuple[tuple[str, Any], ...]


@dataclass(frozen=True)
class ExpandedSweep:
    """The points of a sweep in order, and Hydra's own overrides (launcher)."""

    points: tuple[Point, ...]
    hydra_overrides: tuple[str, ...]


def config_folder() -> Path:
    """Return the folder of the YAML files: `configs/` in a checkout, `resdepth/config/yaml/` in an installed wheel."""
    here = Path(__file__).resolve().parent
    for folder in (here / "yaml", here.parent.parent / "configs"):
        if (folder / "config.yaml").is_file():
            return folder
    raise ConfigError("configs", here, "the installation lacks its YAML files; install resdepth again")


def expand(overrides: Sequence[str], config_dir: Path | None = None, *, swept: bool = True) -> ExpandedSweep:
    """Compose and validate every point that the overrides ask for, in the order of the axes.

    `swept=False` ignores the default axes (depth and variant), for a single run.
    Raises ConfigError, one line, for any bad override or value.
    """
    with initialized_hydra(config_dir) as loader:
        composer = _Composer(loader)
        with one_line_errors(loader, overrides):
            # `experiment=null` is the default, but as an override Hydra would look for a file of that name.
            parsed = parse([normalise_override(line) for line in overrides if line != "experiment=null"], loader)
            launcher = tuple(str(o.input_line) for o in parsed if is_launcher_override(o))
            return ExpandedSweep(tuple(map(composer.point, composer.lines(parsed, swept=swept))), launcher)


@contextmanager
def initialized_hydra(config_dir: Path | None) -> Iterator[ConfigLoader]:
    """Initialise Hydra to read YAML files from `config_dir` first, then from the program's folder.

    Raises ConfigError for a folder that cannot be used.
    """
    if config_dir is not None and not expand_path("--config-dir", str(config_dir)).is_dir():
        raise ConfigError("--config-dir", config_dir, "is not a folder; name one that holds data/, recipe/, ...")
    if config_dir is not None and (config_dir / "config.yaml").exists():
        raise ConfigError("--config-dir", config_dir, "contains a config.yaml, the program's own; rename or remove it")
    ConfigStore.instance().store("schema", RunConfig)
    with initialize_config_dir(str(config_folder()), job_name="resdepth", version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        if config_dir is not None:
            # First in the search path, so that a user's file replaces one of the same name.
            loader.get_search_path().prepend("resdepth --config-dir", f"file://{config_dir.resolve()}", "main")
            loader.repository.initialize_sources(loader.get_search_path())  # type: ignore[attr-defined]
        yield loader


@dataclass(frozen=True)
class _Base:
    """A choice of groups, composed before any value is set, and the option of each group."""

    config: DictConfig
    choices: dict[str, str]
    # The same as a nested dictionary; None where an interpolation other than name=${data.name} needs OmegaConf.
    tree: dict[str, Any] | None

    @classmethod
    def of(cls, config: DictConfig, choices: dict[str, str]) -> "_Base":
        tree: Any = OmegaConf.to_container(config)
        values = [str(value) for pair in flatten(tree) if pair != ("name", "${data.name}") for value in pair]
        return cls(config, choices, None if any("${" in value for value in values) else tree)


class _Composer:
    """Composes points with one Hydra loader, and finds their differences to the defaults.

    What is slow (parsing a line, composing a choice of groups, converting a value) is done once for all points.
    """

    def __init__(self, loader: ConfigLoader) -> None:
        self._loader = loader
        self._parse = cache(self._parse_line)
        self._base = cache(self._compose_groups)
        self._value: Callable[[tuple[str, ...], str], Any] = cache(self._convert)
        self._reference = cache(self._compose_choices)

    def lines(self, parsed: Sequence[Override], *, swept: bool) -> list[list[str]]:
        """Return the override lines of every point: axes of config.yaml or an experiment, then the command line's."""
        own = [o for o in parsed if not o.is_hydra_override()]
        given = [str(o.input_line) for o in parsed]
        require_allowed_keys(parsed, self._loader)
        require_bounded_axes(parsed)
        # An experiment has axes of its own, so it is composed first; its name cannot be an axis itself.
        master = self._loader.load_configuration("config", given, RunMode.MULTIRUN)
        defaults = self._loader.load_configuration("config", [], RunMode.MULTIRUN)
        launcher = master.hydra.runtime.choices.get("hydra/launcher")
        if launcher != "basic" and "hydra/launcher" not in {o.key_or_group for o in parsed}:
            remedy = "is set in an experiment; set it on the command line instead"
            raise ConfigError("hydra/launcher", launcher, remedy)
        axes = dict(master.hydra.sweeper.params or {})
        for key in list(defaults.hydra.sweeper.params):
            # An experiment that fixes depth or variant outside its axes means that value.
            is_fixed = OmegaConf.select(master, key) != OmegaConf.select(defaults, key)
            if key in axes and axes[key] == defaults.hydra.sweeper.params[key] and (is_fixed or not swept):
                del axes[key]
        for override in [o for o in own if o.is_delete() and o.key_or_group in axes]:
            del axes[override.key_or_group]
            own.remove(override)
        whole = [*parse([f"{key}={value}" for key, value in axes.items()], self._loader), *own]
        require_bounded_axes(whole)
        return list(BasicSweeper.split_arguments(whole, None)[0])

    def point(self, line: list[str]) -> Point:
        """Compose and validate one point."""
        given = {o.key_or_group: o for o in map(self._parse, line)}
        for length, other in _LENGTHS.items():
            # `recipe.epochs=1` replaces the recipe's iterations.
            if length in given and other not in given and given[length].value() is not None:
                line = [*line, f"{other}=null"]
        config, choices = self._compose(line)
        defaults, implied = self._reference(tuple(sorted(choices.items())))
        found = [(group, choices[group]) for group in GROUPS if self._is_chosen(group, choices, implied, config)]
        here = identity(config)
        # Of epochs and iterations one is null because the other is set.
        skipped = (*_NAMED, *(length for length in _LENGTHS if here[length] is None))
        found += [(k, v) for k, v in here.items() if defaults[k] != v and k not in skipped]
        return Point(config, tuple(found))

    @staticmethod
    def _is_chosen(group: str, choices: dict[str, str], implied: dict[str, str], config: RunConfig) -> bool:
        if group == "experiment" or choices.get(group) == implied.get(group):
            return False
        return group != "data" or config.name != config.data.name

    def _parse_line(self, line: str) -> Override:
        (override,) = parse([line], self._loader)
        require_allowed_keys([override], self._loader)
        return override

    def _compose(self, line: Sequence[str]) -> tuple[RunConfig, dict[str, str]]:
        """Compose a point; raises Hydra's, OmegaConf's and the schema's errors."""
        overrides = [self._parse(text) for text in line]
        groups = tuple(str(o.input_line) for o in overrides if o.key_or_group in GROUPS)
        values = [o for o in overrides if o.key_or_group not in GROUPS]
        base = self._base(groups)
        if base.tree is not None and all(map(_is_plain, values)):
            # Of several errors the composition below raises the first, with its own message.
            with suppress(ConfigError, HydraException, OmegaConfBaseException):
                return self._assemble(base.tree, groups, values), base.choices
        composed = copy.deepcopy(base.config)
        ConfigLoaderImpl._apply_overrides_to_config(values, composed)
        _require_known(composed)
        config = OmegaConf.to_object(composed)
        assert isinstance(config, RunConfig)
        return config, base.choices

    def _assemble(self, tree: dict[str, Any], groups: tuple[str, ...], values: Sequence[Override]) -> RunConfig:
        """Build a configuration without interpolations from its values: as composing it, and forty times as fast."""
        tree = {key: dict(part) if isinstance(part, dict) else part for key, part in tree.items()}
        for override in values:
            group, _, leaf = override.key_or_group.rpartition(".")
            (tree[group] if group else tree)[leaf] = self._value(groups, str(override.input_line))
        if tree["name"] == "${data.name}":
            tree["name"] = tree["data"]["name"]
        parts: Any = {"data": DataConfig(**tree["data"]), "model": ModelConfig(**tree["model"])}
        return RunConfig(**{**tree, **parts, "recipe": RecipeConfig(**tree["recipe"])})

    def _convert(self, groups: tuple[str, ...], line: str) -> Any:
        """Return the value of one override as the schema's types convert it."""
        override, composed = self._parse(line), copy.deepcopy(self._base(groups).config)
        ConfigLoaderImpl._apply_overrides_to_config([override], composed)
        _require_known(composed)
        value = OmegaConf.select(composed, override.key_or_group, throw_on_missing=True)
        return OmegaConf.to_object(value) if OmegaConf.is_config(value) else value

    def _compose_groups(self, lines: tuple[str, ...]) -> _Base:
        composed = self._loader.load_configuration("config", list(lines), RunMode.RUN)
        choices = {group: composed.hydra.runtime.choices.get(group) for group in GROUPS}
        with open_dict(composed):
            del composed["hydra"]
        for group in ("data", "model", "recipe"):
            composed[group].name = composed[group].name or choices[group]
        return _Base.of(composed, choices)

    def _compose_choices(self, choices: tuple[tuple[str, str], ...]) -> tuple[dict[str, Any], dict[str, str]]:
        """Return the identity that these choices alone have, and the choices that follow from the data's."""
        chosen = dict(choices)
        experiment = chosen["experiment"]
        implied = dict(self._base((f"experiment={experiment}",) if experiment else ()).choices)
        if not experiment:
            implied["recipe"] = chosen["data"]
        lines = [f"{group}={option}" for group, option in choices if option]
        is_users = self._base(tuple(lines)).config.data.source in USER_SOURCES
        # A user's data set needs a path to be valid.
        config, _ = self._compose([*lines, "data.path=x"] if is_users else lines)
        return identity(config), implied


def _is_plain(override: Override) -> bool:
    """Whether an override sets a scalar or a list of them, without an interpolation."""
    value = override.value()
    is_nested = isinstance(value, dict) or (isinstance(value, list) and any(isinstance(v, list | dict) for v in value))
    return not (is_nested or override.is_delete() or "${" in str(override.input_line))


def _require_known(composed: DictConfig) -> None:
    known = known_keys()
    for key, value in flatten(OmegaConf.to_container(composed)):
        if key not in known:
            raise ConfigError(key, value, unknown_key(key))
