"""Which nets a probe measures: those trained in a folder of results, or those of overrides at initialisation."""

import shlex
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from resdepth.config.checks import expand_path, name_of_path
from resdepth.config.compose import expand
from resdepth.config.keys import identity, run_identity
from resdepth.config.schema import PUBLISHED, USER_SOURCES, RunConfig
from resdepth.errors import ConfigError
from resdepth.models.plugins import plugin_paths
from resdepth.probes.nets import ProbedNet
from resdepth.probes.rows import Probe
from resdepth.results.outcome import read_outcome
from resdepth.results.run_directory import WEIGHTS, load_config, run_folders
from resdepth.sweep.plan import make_plan

# Keys that follow from the options of the groups.
_IN_GROUPS = ("data.fingerprint", "plugin", "data.name", "data.source", "model.name", "recipe.name")
# Keys that may be set for trained nets: where they are measured, and where the data lie.
_FREE = ("device", "data.path", "data.root", "data.download")


@dataclass(frozen=True)
class Selection:
    """The nets to measure, the folder for what is found, a line for each run left out, the labels of diverged runs."""

    nets: tuple[ProbedNet, ...]
    folder: Path
    problems: tuple[str, ...] = ()
    diverged: tuple[str, ...] = ()


def select(
    probe: Probe, targets: Sequence[str], config_dir: Path | None, *, every: int = 1, epoch: int | None = None
) -> Selection:
    """Return the nets of a folder or of overrides.

    Of a folder's nets, those after `epoch`, by default the last; where the probe measures along training, those at
    initialisation, after every `every`-th epoch, and after the last. Raises ConfigError for targets that name no net,
    with the command that would make it.
    """
    if not all(word.strip() for word in targets):
        raise ConfigError("results", "", "is empty; name a folder, or an override such as depth=20")
    # The name of a run's folder may hold an equals sign, too.
    folders = [expand_path("results", word) for word in targets if _is_folder(word)]
    overrides = [word for word in targets if not _is_folder(word)]
    if len(folders) > 1:
        raise ConfigError("results", f"{folders[0]} {folders[1]}", "a probe measures the runs of one folder; name one")
    if probe.needs_weights and not folders:
        given = [word for word in overrides if not word.startswith("keep_weights=")]
        words = shlex.join(["resdepth", "sweep", *given, "keep_weights=last"])
        remedy = f"measures trained nets; train them with {words}, then name their folder, such as results/digits"
        raise ConfigError("probe", probe.name, remedy)
    if probe.takes_pixels and folders:
        remedy = f"{probe.name} trains stacks of its own; give it overrides, as depth=20,56"
        raise ConfigError("results", folders[0], remedy)
    if folders:
        return _select_trained(probe, folders[0], overrides, every=every, epoch=epoch)
    # As for a restart: the state of the runs' directories does not matter to nets at initialisation.
    plan = make_plan(overrides, config_dir, restart=True)
    if len(plan.folders) > 1:
        raise ConfigError("name", plan.folders[1].name, "a probe writes to one folder; leave name= out, or give one")
    nets = tuple(ProbedNet(run.config, run.label) for run in plan.runs)
    return Selection(nets, plan.folders[0] / "probes" / probe.name)


def _is_folder(word: str) -> bool:
    is_override = "=" in word or (word[:1] in ("~", "+") and "/" not in word)
    with suppress(OSError, RuntimeError):
        return not is_override or Path(word).expanduser().is_dir()
    return False


def _select_trained(probe: Probe, root: Path, overrides: Sequence[str], *, every: int, epoch: int | None) -> Selection:
    if not root.is_dir():
        raise ConfigError("results", root, "is neither a folder of results nor an override such as depth=20")
    runs = sorted(run_folders(root), key=lambda folder: folder.parts)
    configs = {folder: _with(load_config(folder), overrides) for folder in runs}
    if not configs:
        remedy = "contains no runs; make some with resdepth sweep depth=20,56,110 keep_weights=last"
        raise ConfigError("results", root, remedy)
    longest = max(config.recipe.epochs or epoch or 0 for config in configs.values())
    if epoch is not None and epoch > longest:
        raise ConfigError("--epoch", epoch, f"these runs have {longest} epochs; choose one of them")
    nets, missing, problems, diverged = list[ProbedNet](), list[Path](), list[str](), list[str]()
    for folder, config in configs.items():
        label = folder.name if folder == root else folder.relative_to(root).as_posix()
        files, outcome = kept_weights(folder), read_outcome(folder)
        epochs = _epochs(probe, list(files), every, epoch)
        if outcome is not None and outcome.state == "diverged":
            # There are no weights after a divergence; those before it are not the trained net's.
            diverged.append(label)
            epochs = [e for e in epochs if e == epoch] if probe.needs_weights else (epochs or [0])
            remedy = "train it at a lower recipe.lr"
            problems += [] if epochs else [f"{folder}: left out, because it diverged; {remedy}"]
        elif outcome is None:
            done = f"measured up to epoch {max(files)}" if epochs else "left out, without weights"
            problems.append(f"{folder}: has not finished; {done}")
        elif not epochs:
            missing.append(folder)
        nets += [ProbedNet(config, label, e, files.get(e)) for e in epochs]
    kept = "last" if probe.needs_weights and epoch is None else "all"
    what = "weights" if epoch is None else f"weights after epoch {epoch}"
    problems += left_out({folder: configs[folder] for folder in missing}, kept, what)
    if not nets:
        raise ConfigError("results", root, problems[-1].partition(": ")[2])
    return Selection(tuple(nets), root / "probes" / probe.name, tuple(problems), tuple(diverged))


def left_out(configs: Mapping[Path, RunConfig], kept: str, what: str = "weights") -> list[str]:
    """Return a line for each experiment of these runs, which lack weights, with the commands that make them."""
    lines = []
    for parent in dict.fromkeys(folder.parent for folder in configs):
        groups: dict[tuple[str, ...], dict[Path, RunConfig]] = {}
        for folder, config in configs.items():
            if folder.parent == parent:
                groups.setdefault((config.data.name, config.model.name, config.recipe.name), {})[folder] = config
        # One of each data, model and recipe: their keys have other defaults.
        commands = " && ".join(train_command([*each.values()], next(iter(each)), kept) for each in groups.values())
        count = sum(map(len, groups.values()))
        lines.append(f"{parent}: runs without {what} are left out ({count}); train them with {commands}")
    return lines


def _epochs(probe: Probe, kept: Sequence[int], every: int, epoch: int | None) -> list[int]:
    """Return the epochs to measure of a run with these weights; 0 is the initialisation, which needs none."""
    if not kept or (epoch is not None and epoch not in kept):
        return []
    if epoch is not None:
        return [epoch]
    return [max(kept)] if probe.needs_weights else [0, *(e for e in kept if e == max(kept) or e % every == 0)]


def kept_weights(folder: Path) -> dict[int, Path]:
    """Return the files of a run's weights by epoch, in order."""
    files = {path.stem.removeprefix("epoch-"): path for path in (folder / WEIGHTS).glob("epoch-*.safetensors")}
    return {int(epoch): files[epoch] for epoch in sorted(filter(str.isdecimal, files), key=int)}


def _with(config: RunConfig, overrides: Sequence[str]) -> RunConfig:
    """Set keys that say where a trained net is measured. Raises ConfigError for any other."""
    for override in overrides:
        key, _, value = override.partition("=")
        if key not in _FREE:
            raise ConfigError(key, value, f"cannot be changed in trained nets; only {', '.join(_FREE)} can be set")
        group, _, leaf = key.rpartition(".")
        if leaf == "download" and value not in ("true", "false"):
            raise ConfigError(key, value, "needs true or false")
        new: Any = value == "true" if leaf == "download" else value
        config = replace(config, data=replace(config.data, **{leaf: new})) if group else replace(config, device=value)
    return config


def train_command(configs: Sequence[RunConfig], folder: Path, kept: str) -> str:
    """Return the command that trains these runs of one experiment again, and possibly more, with their weights kept."""
    found: dict[str, list[str]] = {}
    defaults: dict[str, object] = {}
    for config in configs:
        is_own = config.data.source in USER_SOURCES
        data = config.data.source if is_own else config.data.name
        groups = [f"data={data}", f"model={config.model.name}", f"recipe={config.recipe.name}"]
        paths = [f"data.path={config.data.path}"] if config.data.path else []
        is_renamed = is_own and name_of_path(config.data.path or "") != config.data.name
        names = [f"data.name={config.data.name}"] if is_renamed else []
        with suppress(ConfigError):  # groups of the user's own
            defaults = identity(expand([*groups, *paths], swept=False).points[0].config)
        keys = {"depth": config.depth, "variant": config.variant, "seed": config.seed}
        keys |= dict(word.split("=", 1) for word in (*groups, *paths, *names))
        for key, value in {**keys, **{k: v for k, v in run_identity(config).items() if k not in _IN_GROUPS}}.items():
            texts, text = found.setdefault(key, []), as_override(value)
            texts += [] if text in texts else [text]
    plain = {key: as_override(value) for key, value in defaults.items() if key not in ("depth", "variant", "seed")}
    words = [f"{key}={','.join(_ordered(texts))}" for key, texts in found.items() if texts != [plain.get(key)]]
    # A relative path may lack the experiment's name.
    folder = folder if len(folder.parts) > 2 else folder.resolve()
    is_published = PUBLISHED in folder.parts
    where = [f"name={folder.parent.name}" + ("_again" if is_published else "")]
    results = folder.parent.parent
    where += [] if results == Path("results") or is_published else [f"results={results}"]
    restart = [] if is_published else ["--restart"]
    plugins = [word for path in plugin_paths(config.variant for config in configs) for word in ("--plugin", path)]
    return shlex.join(["resdepth", "sweep", *words, *where, f"keep_weights={kept}", *plugins, *restart])


def as_override(value: object) -> str:
    """Return a value as an override states it."""
    if isinstance(value, list):
        return f"[{','.join(map(str, value))}]"
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _ordered(texts: list[str]) -> list[str]:
    return sorted(texts, key=int) if all(text.isdecimal() for text in texts) else texts
