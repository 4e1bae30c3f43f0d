"""From override to RunConfig: with `overrides` and `hydra_errors` all that knows Hydra. No DictConfig leaves it.

A sweep is expanded and validated as a whole, before anything runs. The names used from `hydra._internal` have no public
counterpart in Hydra 1.3, hence the pin `hydra-core<1.4`.
"""

import copy
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
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
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict

from resdepth.config.checks import expand_path
from resdepth.config.hydra_errors import one_line_errors, unknown_key
from resdepth.config.keys import flatten, identity, known_keys
from resdepth.config.overrides import check_axes, check_keys, is_launcher_override, normalise_override, parse
from resdepth.config.schema import GROUPS, OWN_SOURCES, RunConfig
from resdepth.errors import ConfigError

_LENGTHS = {"recipe.epochs": "recipe.iterations", "recipe.iterations": "recipe.epochs"}


@dataclass(frozen=True)
class Point:
    """One point of a sweep: its configuration, and what of it differs from the defaults, as (key, value)."""

    config: RunConfig
    non_defaults: tuple[tuple[str, Any], ...]


@dataclass(frozen=True)
class ExpandedSweep:
    """What the overrides ask for: the points in order, and the overrides that are Hydra's own (launcher, sweeper)."""

    points: tuple[Point, ...]
    hydra_overrides: tuple[str, ...]


def config_folder() -> Path:
    """The YAML files: beside the package in a checkout, inside it in an installed wheel."""
    here = Path(__file__).resolve().parent
    for folder in (here / "yaml", here.parent.parent / "configs"):
        if (folder / "config.yaml").is_file():
            return folder
    raise ConfigError("configs", here, "the installation lacks its YAML files; install resdepth again")


def expand(overrides: Sequence[str], config_dir: Path | None = None, *, swept: bool = True) -> ExpandedSweep:
    """Every point that the overrides ask for, validated, in the order of the axes.

    `swept=False` ignores the default axes (depth and variant), as one run wants them.
    Raises ConfigError, one line, for any bad override or value.
    """
    with initialized_hydra(config_dir) as loader:
        composer = _Composer(loader)
        with one_line_errors(loader, overrides):
            # `experiment=null` is the default, but as an override Hydra would look for a file of that name.
            lines = [normalise_override(line) for line in overrides if line != "experiment=null"]
            parsed = parse(lines, loader)
            own = tuple(str(o.input_line) for o in parsed if is_launcher_override(o))
            return ExpandedSweep(tuple(composer.point(line) for line in composer.lines(parsed, swept=swept)), own)


@contextmanager
def initialized_hydra(config_dir: Path | None) -> Iterator[ConfigLoader]:
    """Hydra, looking for YAML files in `config_dir` first, then in the program's own folder. Raises ConfigError."""
    if config_dir is not None and not expand_path("--config-dir", str(config_dir)).is_dir():
        raise ConfigError("--config-dir", config_dir, "is not a folder; name one that holds data/, recipe/, ...")
    if config_dir is not None and (config_dir / "config.yaml").exists():
        raise ConfigError("--config-dir", config_dir, "holds a config.yaml, the program's own; rename or remove it")
    ConfigStore.instance().store("schema", RunConfig)
    with initialize_config_dir(str(config_folder()), job_name="resdepth", version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        if config_dir is not None:
            # Before the program's own folder, so that a user's file wins over one of the same name.
            loader.get_search_path().prepend("resdepth --config-dir", f"file://{config_dir.resolve()}", "main")
            loader.repository.initialize_sources(loader.get_search_path())  # type: ignore[attr-defined]
        yield loader


class _Composer:
    """Composes points with one Hydra loader, and finds what differs from the composition's own defaults."""

    def __init__(self, loader: ConfigLoader) -> None:
        self._loader = loader
        self._base = cache(self._compose_groups)
        self._reference = cache(self._compose_choices)

    def lines(self, parsed: Sequence[Override], *, swept: bool) -> list[list[str]]:
        """The override lines of every point: the axes of config.yaml or of an experiment, then the command line's."""
        mine = [o for o in parsed if not o.is_hydra_override()]
        given = [str(o.input_line) for o in parsed]
        check_keys(parsed, self._loader)
        check_axes(parsed)
        # An experiment brings axes of its own, so it is composed first; its name cannot be an axis itself.
        master = self._loader.load_configuration("config", given, RunMode.MULTIRUN)
        defaults = self._loader.load_configuration("config", [], RunMode.MULTIRUN)
        self._refuse_launcher_of_experiment(master, parsed)
        axes = dict(master.hydra.sweeper.params or {})
        for key in list(defaults.hydra.sweeper.params):
            # An experiment that fixes depth or variant outside its axes means that value.
            is_fixed = OmegaConf.select(master, key) != OmegaConf.select(defaults, key)
            if key in axes and axes[key] == defaults.hydra.sweeper.params[key] and (is_fixed or not swept):
                del axes[key]
        for override in [o for o in mine if o.is_delete() and o.key_or_group in axes]:
            del axes[override.key_or_group]
            mine.remove(override)
        axis_lines = parse([f"{key}={value}" for key, value in axes.items()], self._loader)
        check_axes([*axis_lines, *mine])
        return list(BasicSweeper.split_arguments([*axis_lines, *mine], None)[0])

    @staticmethod
    def _refuse_launcher_of_experiment(master: DictConfig, parsed: Sequence[Override]) -> None:
        launcher = master.hydra.runtime.choices.get("hydra/launcher")
        if launcher != "basic" and "hydra/launcher" not in {o.key_or_group for o in parsed}:
            raise ConfigError("hydra/launcher", launcher, "stands in an experiment; say it on the command line instead")

    def point(self, line: list[str]) -> Point:
        parsed = parse(line, self._loader)
        check_keys(parsed, self._loader)
        given = {o.key_or_group: o for o in parsed}
        for length, other in _LENGTHS.items():
            # `recipe.epochs=1` is meant instead of the recipe's iterations, not beside them.
            if length in given and other not in given and given[length].value() is not None:
                line = [*line, f"{other}=null"]
        config, choices = self._compose(line)
        reference, implied = self._reference(tuple(sorted(choices.items())))
        non_defaults = [(group, choices[group]) for group in GROUPS if self._is_chosen(group, choices, implied, config)]
        base = identity(reference)
        skipped: tuple[str, ...] = ("depth", "variant", "seed", "data.name", "model.name", "recipe.name")
        # Of epochs and iterations one is null because the other is set.
        skipped += tuple(length for length, other in _LENGTHS.items() if identity(config)[length] is None)
        non_defaults += [(k, v) for k, v in identity(config).items() if k not in skipped and base[k] != v]
        return Point(config, tuple(non_defaults))

    @staticmethod
    def _is_chosen(group: str, choices: dict[str, str], implied: dict[str, str], config: RunConfig) -> bool:
        if group == "experiment" or choices.get(group) == implied.get(group):
            return False
        return group != "data" or config.name != config.data.name

    def _compose(self, line: Iterable[str]) -> tuple[RunConfig, dict[str, str]]:
        parsed = parse(list(line), self._loader)
        groups = tuple(str(o.input_line) for o in parsed if o.key_or_group in GROUPS)
        base, choices = self._base(groups)
        composed = copy.deepcopy(base)
        values = [o for o in parsed if o.key_or_group not in GROUPS]
        ConfigLoaderImpl._apply_overrides_to_config(values, composed)
        _refuse_unknown(composed)
        config = OmegaConf.to_object(composed)
        assert isinstance(config, RunConfig)
        return config, dict(choices)

    def _compose_groups(self, lines: tuple[str, ...]) -> tuple[DictConfig, dict[str, str]]:
        """What a choice of groups composes to, before any value is set: the slow part, and the same for many points."""
        composed = self._loader.load_configuration("config", list(lines), RunMode.RUN)
        choices = {group: composed.hydra.runtime.choices.get(group) for group in GROUPS}
        with open_dict(composed):
            del composed["hydra"]
        for group in ("data", "model", "recipe"):
            composed[group].name = composed[group].name or choices[group]
        return composed, choices

    def _compose_choices(self, choices: tuple[tuple[str, str], ...]) -> tuple[RunConfig, dict[str, str]]:
        """The composition of these group choices alone, and the choices that would have come by themselves."""
        chosen = dict(choices)
        experiment = chosen["experiment"]
        implied = dict(self._base((f"experiment={experiment}",) if experiment else ())[1])
        if not experiment:
            implied["recipe"] = chosen["data"]
        lines = [f"{group}={option}" for group, option in choices if option]
        is_own = self._base(tuple(lines))[0].data.source in OWN_SOURCES
        # A user's own data need a path to be valid at all.
        config, _ = self._compose([*lines, "data.path=x"] if is_own else lines)
        return config, implied


def _refuse_unknown(composed: DictConfig) -> None:
    known = known_keys()
    for key, value in flatten(OmegaConf.to_container(composed)):  # type: ignore[arg-type]
        if key not in known:
            raise ConfigError(key, value, unknown_key(key))
