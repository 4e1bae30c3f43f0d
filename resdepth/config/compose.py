"""Hydra composition: from overrides to the validated RunConfig of every point of a sweep. No DictConfig leaves it.

A sweep is expanded and validated as a whole, before anything runs. `hydra._internal` is used in this module alone:
Hydra 1.3 has no public way to compose a sweep's points without launching them, hence the pin `hydra-core<1.4`.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

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

from resdepth.config.catalogue import config_folder, user_folder
from resdepth.config.hydra_errors import one_line_errors, unknown_key
from resdepth.config.keys import LENGTHS, flatten, identity, known_keys
from resdepth.config.overrides import name_of_data, normalise_override, parse, require_bounded_axes, require_values
from resdepth.config.schema import GROUPS, USER_SOURCES, DataConfig, ModelConfig, RecipeConfig, RunConfig
from resdepth.errors import ConfigError

# Keys that a run's directory names anyway, or that follow from a group's option.
_NAMED = ("depth", "variant", "plugin", "seed", "data.name", "model.name", "recipe.name")
_PARTS: dict[str, Callable[..., Any]] = {"data": DataConfig, "model": ModelConfig, "recipe": RecipeConfig}


class Point(NamedTuple):
    """One point of a sweep: its configuration, and its (key, value) pairs that differ from the defaults."""

    config: RunConfig
    non_defaults: tuple[tuple[str, Any], ...]


class ExpandedSweep(NamedTuple):
    """The points of a sweep in order, Hydra's own overrides, and the launcher that they choose with its settings."""

    points: tuple[Point, ...]
    hydra_overrides: tuple[str, ...]
    launcher: tuple[str, dict[str, Any]]


def expand(overrides: Sequence[str], config_dir: Path | None = None, *, swept: bool = True) -> ExpandedSweep:
    """Compose and validate every point that the overrides ask for, in the order of the axes.

    `swept=False` ignores the default axes (depth and variant), for a single run.
    Raises ConfigError, one line, for any bad override or value.
    """
    with _composing(overrides, config_dir) as (composer, parsed):
        hydras = [o for o in parsed if o.is_hydra_override() and not o.key_or_group.startswith("hydra.sweeper.params")]
        points = tuple(map(composer.point, composer.lines(parsed, swept=swept)))
        return ExpandedSweep(points, tuple(str(o.input_line) for o in hydras), composer.launcher(hydras))


class FirstPoint(NamedTuple):
    """The first point of a sweep, and where its values come from."""

    config: RunConfig
    points: int  # of the whole sweep
    choices: dict[str, str]  # group -> option
    axes: frozenset[str]  # keys that an axis of config.yaml or of the experiment sets
    given: frozenset[str]  # keys and groups set on the command line


def first_point(overrides: Sequence[str], config_dir: Path | None = None, *, swept: bool = True) -> FirstPoint:
    """Compose the first point of a sweep and say where its values come from. Raises ConfigError."""
    with _composing(overrides, config_dir) as (composer, parsed):
        lines = composer.lines(parsed, swept=swept)
        keys = frozenset(line.partition("=")[0].lstrip("+~") for line in lines[0])
        given = frozenset(o.key_or_group.removeprefix("hydra.sweeper.params.") for o in parsed)
        choices = composer.choices(lines[0])
        return FirstPoint(composer.point(lines[0]).config, len(lines), choices, keys - given, given)


@contextmanager
def _composing(overrides: Sequence[str], config_dir: Path | None) -> "Iterator[tuple[_Composer, list[Override]]]":
    """Yield a composer and the parsed overrides; errors inside the block become ConfigErrors."""
    with initialized_hydra(config_dir) as loader, one_line_errors(loader, overrides):
        # `experiment=null` is the default, but as an override Hydra would look for a file of that name.
        require_values(overrides)
        given = [parse(normalise_override(o, loader), loader) for o in overrides if o != "experiment=null"]
        yield _Composer(loader), given


@contextmanager
def initialized_hydra(config_dir: Path | None) -> Iterator[ConfigLoader]:
    """Initialise Hydra to read YAML files from `config_dir` first, then from the program's folder.

    Raises ConfigError for a folder that cannot be used.
    """
    folder = user_folder(config_dir)
    ConfigStore.instance().store("schema", RunConfig)
    with initialize_config_dir(str(config_folder()), job_name="resdepth", version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        if folder is not None:
            # First in the search path, so that a user's file replaces one of the same name.
            loader.get_search_path().prepend("resdepth --config-dir", f"file://{folder.resolve()}", "main")
            loader.repository.initialize_sources(loader.get_search_path())  # type: ignore[attr-defined]
        yield loader


class _Base(NamedTuple):
    """A choice of groups, composed before any value is set."""

    groups: tuple[str, ...]
    choices: dict[str, str]
    config: DictConfig
    names_data: bool  # whether the YAML files give the data a name
    tree: dict[str, Any]  # the configuration as a nested dictionary
    has_interpolations: bool  # others than name=${data.name}


class _Composer:
    """Composes points with one Hydra loader, and finds their differences to the defaults.

    What is slow (parsing a line, composing a choice of groups, converting a value) is done once for all points.
    """

    def __init__(self, loader: ConfigLoader) -> None:
        self._loader = loader
        self._parse = cache(lambda line: parse(line, loader))
        self._base = cache(self._compose_groups)
        self._scratch = cache(lambda groups: copy.deepcopy(self._base(groups).config))  # to convert a value at a time
        self._value = cache(self._convert)
        self._reference = cache(self._find_reference)

    def lines(self, parsed: Sequence[Override], *, swept: bool) -> list[list[str]]:
        """Return the override lines of every point: axes of config.yaml or an experiment, then the command line's."""
        own = [o for o in parsed if not o.is_hydra_override()]
        # An experiment has axes of its own, so it is composed first; its name cannot be an axis itself.
        master = self._loader.load_configuration("config", [str(o.input_line) for o in parsed], RunMode.MULTIRUN)
        defaults = self._loader.load_configuration("config", [], RunMode.MULTIRUN)
        launcher = master.hydra.runtime.choices.get("hydra/launcher")
        if launcher != "basic" and "hydra/launcher" not in {o.key_or_group for o in parsed}:
            raise ConfigError("hydra/launcher", launcher, "is set in an experiment; set it on the command line instead")
        axes = dict(master.hydra.sweeper.params or {})
        for key, default in defaults.hydra.sweeper.params.items():
            # An experiment that fixes depth or variant outside its axes means that value.
            is_fixed = OmegaConf.select(master, key) != OmegaConf.select(defaults, key)
            if axes.get(key) == default and (is_fixed or not swept):
                del axes[key]
        for override in [o for o in own if o.is_delete() and o.key_or_group in axes]:
            del axes[override.key_or_group]
            own.remove(override)
        whole = [*(parse(f"{key}={value}", self._loader) for key, value in axes.items()), *own]
        require_bounded_axes(whole)
        return list(BasicSweeper.split_arguments(whole, None)[0])

    def launcher(self, hydras: Sequence[Override]) -> tuple[str, dict[str, Any]]:
        """Return the launcher that Hydra's own overrides choose, and its settings."""
        composed = self._loader.load_configuration("config", [str(o.input_line) for o in hydras], RunMode.MULTIRUN)
        settings: Any = OmegaConf.to_container(composed.hydra.launcher)
        return composed.hydra.runtime.choices["hydra/launcher"], settings

    def point(self, line: list[str]) -> Point:
        """Compose and validate one point."""
        overrides = [self._parse(text) for text in line]
        given = {o.key_or_group: o for o in overrides}
        base = self._base(_group_lines(overrides))
        is_own = base.choices["data"] in USER_SOURCES or "data.source" in given
        if is_own and not base.names_data and "data.name" not in given and (name := name_of_data(given)):
            overrides.append(self._parse(f"data.name='{name}'"))
        for length, other in LENGTHS.items():
            # `recipe.epochs=1` replaces the recipe's iterations.
            if length in given and other not in given and given[length].value() is not None:
                overrides.append(self._parse(f"{other}=null"))
        config = self._compose(base, [o for o in overrides if o.key_or_group not in GROUPS])
        defaults, implied = self._reference(base.groups)
        here = identity(config)
        found = [(group, base.choices[group]) for group in _PARTS if base.choices[group] != implied[group]]
        found += [(key, value) for key, value in here.items() if value != defaults[key]]
        # Of epochs and iterations one is null because the other is set. The folder's name may be the data's.
        skipped = {*_NAMED, *(length for length in LENGTHS if here[length] is None)}
        if config.name == config.data.name:
            skipped.add("data")
        return Point(config, tuple(pair for pair in found if pair[0] not in skipped))

    def choices(self, line: list[str]) -> dict[str, str]:
        """Return the option of every group at one point."""
        return self._base(_group_lines([self._parse(text) for text in line])).choices

    def _compose(self, base: _Base, values: list[Override]) -> RunConfig:
        """Set the values of a point; raises Hydra's, OmegaConf's and the schema's errors."""
        if not base.has_interpolations and all(map(_is_plain, values)):
            # Of several errors the composition below raises the first, with its own message.
            with suppress(ConfigError, HydraException, OmegaConfBaseException):
                return self._assemble(base, values)
        config: Any = OmegaConf.to_object(_apply(values, base))
        return config

    def _assemble(self, base: _Base, values: list[Override]) -> RunConfig:
        """Build a configuration without interpolations from its values: as composing it, and forty times as fast."""
        tree: dict[str, Any] = {key: dict(part) if isinstance(part, dict) else part for key, part in base.tree.items()}
        for override in values:
            group, _, leaf = override.key_or_group.rpartition(".")
            (tree[group] if group else tree)[leaf] = self._value(base.groups, str(override.input_line))
        if tree["name"] == "${data.name}":
            tree["name"] = tree["data"]["name"]
        for group, kind in _PARTS.items():
            tree[group] = kind(**tree[group])
        return RunConfig(**tree)

    def _convert(self, groups: tuple[str, ...], line: str) -> Any:
        """Return the value of one override as the schema's types convert it."""
        override, composed = self._parse(line), self._scratch(groups)
        if override.key_or_group in known_keys():
            ConfigLoaderImpl._apply_overrides_to_config([override], composed)
        else:
            composed = _apply([override], self._base(groups))
        value = OmegaConf.select(composed, override.key_or_group, throw_on_missing=True)
        return OmegaConf.to_object(value) if OmegaConf.is_config(value) else value

    def _compose_groups(self, groups: tuple[str, ...]) -> _Base:
        composed = self._loader.load_configuration("config", list(groups), RunMode.RUN)
        choices = {group: composed.hydra.runtime.choices.get(group) for group in GROUPS}
        with open_dict(composed):
            del composed["hydra"]
        names_data = bool(composed.data.name)
        for group in _PARTS:
            composed[group].name = composed[group].name or choices[group]
        tree: Any = OmegaConf.to_container(composed)
        others = [pair for pair in flatten(tree) if pair != ("name", "${data.name}")]
        return _Base(groups, choices, composed, names_data, tree, has_interpolations="${" in str(others))

    def _find_reference(self, groups: tuple[str, ...]) -> tuple[dict[str, Any], dict[str, str]]:
        """Return the identity of a choice of groups, and the options that its experiment, or else its data, implies."""
        base = self._base(groups)
        tree: Any = OmegaConf.to_container(base.config, resolve=True)
        if base.choices["experiment"]:
            return identity(tree), self._base((f"experiment={base.choices['experiment']}",)).choices
        return identity(tree), {**self._base(()).choices, "recipe": base.choices["data"]}


def _group_lines(overrides: Sequence[Override]) -> tuple[str, ...]:
    return tuple(str(o.input_line) for o in overrides if o.key_or_group in GROUPS)


def _is_plain(override: Override) -> bool:
    """Whether an override sets a value without an interpolation, whose braces Hydra escapes in a sweep's lines."""
    return not override.is_delete() and "$" not in str(override.input_line)


def _apply(values: list[Override], base: _Base) -> DictConfig:
    """Set values in a copy of the base. Raises Hydra's and OmegaConf's errors, and ConfigError for an unknown key."""
    composed = copy.deepcopy(base.config)
    ConfigLoaderImpl._apply_overrides_to_config(values, composed)
    for key, value in flatten(OmegaConf.to_container(composed)):
        if key not in known_keys():
            raise ConfigError(key, value, unknown_key(key))
    return composed
