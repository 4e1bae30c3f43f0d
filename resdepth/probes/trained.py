"""A trained net and its data, from its run's directory."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from resdepth.config.checks import expand_path
from resdepth.config.compose import expand
from resdepth.config.keys import COMPUTED_KEYS, EXECUTION_KEYS, flatten
from resdepth.config.schema import USER_SOURCES, DataConfig, RunConfig
from resdepth.data import sources
from resdepth.data.device_data import DeviceData, to_device
from resdepth.data.seeding import INITIALISATION, generator
from resdepth.errors import ConfigError, DataError, RecordError
from resdepth.models.build import build
from resdepth.models.net import Net, copy_tensors
from resdepth.models.plugins import use_plugins
from resdepth.probes.selection import as_override, kept_weights, train_command
from resdepth.results import checkpoint
from resdepth.results.outcome import read_outcome
from resdepth.results.run_directory import CONFIG, load_config, read_config, with_defaults


class TrainedNet(NamedTuple):
    """A net in evaluation mode, float32, on the CPU, with its weights after `epoch`."""

    net: Net
    epoch: int


class Target(NamedTuple):
    """The data set to evaluate on, and the run's own, whose training set's statistics normalise its images."""

    own: DataConfig
    data: DataConfig
    normalise: str

    @property
    def differences(self) -> str:
        """The keys of the data set that differ from those of the run's own."""
        skipped = {key.removeprefix("data.") for key in EXECUTION_KEYS | COMPUTED_KEYS} | {"name", "source"}
        own, data = dict(flatten(self.own)), dict(flatten(self.data))
        return " ".join(f"data.{k}={as_override(v)}" for k, v in data.items() if k not in skipped and v != own[k])


def load_net(run: str | Path, epoch: int | None = None, *, plugins: Sequence[str | Path] = ()) -> Net:
    """Return the trained net of a run's directory, in evaluation mode, float32, on the CPU. No data set is needed.

    Its weights are those kept after `epoch`, by default the last (`keep_weights`), else those of checkpoint.pt. The net
    maps images (N, C, H, W), float32, normalised as in its training, to logits (N, classes): `load_data(run)` has the
    `normalise` for that. `plugins` are files of variants of the user's own. Raises ConfigError for a run without
    weights, with the command that makes them, and RecordError or RunError for damaged files.
    """
    use_plugins(plugins)
    folder = _run_folder(run)
    return load_trained(folder, load_config(folder), epoch).net


def load_data(run: str | Path, overrides: Sequence[str] = (), *, config_dir: str | Path | None = None) -> DeviceData:
    """Return the data set of a run, on the CPU, normalised as in its training.

    `data.normalise(pixels)` maps images of any origin, (N, C, H, W) uint8, to the net's input: pixels / 255, less the
    mean of the run's training set, divided by its deviation. `data.test.images` (N, C, H, W) uint8 and
    `data.test.labels` (N,) are the test set, `data.train` the training set; with overrides (`data=npz`,
    `data.path=mine.npz`, `data.limit=100`) those of another data set. Raises ConfigError or DataError.
    """
    sources.forget_user_data()
    folder = _run_folder(run)
    found = with_defaults(read_config(folder))
    keys = {key.removeprefix("data."): value for key, value in found.items() if key.startswith("data.")}
    try:
        own = DataConfig(**keys)
    except TypeError as error:
        raise RecordError(f"{folder / CONFIG}: is of another version of resdepth ({error}); use that one") from error
    return device_data(choose_data(own, found["recipe.normalise"], overrides, config_dir), torch.device("cpu"))


def load_trained(folder: Path, config: RunConfig, epoch: int | None = None) -> TrainedNet:
    """Return the net of a run with its weights; shapes follow from them. Raises as `load_net`."""
    number, path, tensors = _weights(folder, config, epoch)
    try:
        # Channels of a conv net, pixels of a dense one.
        image, classes = (tensors["layer.weight"].shape[1], 1, 1), len(tensors["classifier.weight"])
        source = generator(config.seed, INITIALISATION)
        net = build(config.depth, config.variant, config.model, image, classes, source)
        copy_tensors(net.state_dict(), tensors)
    except (KeyError, IndexError, ValueError, RuntimeError) as error:
        raise RecordError(f"{path}: does not fit the net ({error}); remove it, and train its run again") from error
    return TrainedNet(net.eval(), number)


def _weights(folder: Path, config: RunConfig, epoch: int | None) -> tuple[int, Path, dict[str, Tensor]]:
    """Return the epoch, the file and the net's tensors."""
    kept, path = kept_weights(folder), folder / checkpoint.CHECKPOINT
    number = max(kept, default=None) if epoch is None else epoch
    if number in kept:
        return number, kept[number], checkpoint.load_weights(kept[number], config)
    if path.exists():
        state = checkpoint.load(path, config, torch.device("cpu"))
        try:
            there = int(state["epoch"])
            tensors = {name: t for name, t in state["tensors"].items() if not name.startswith("momentum.")}
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise RecordError(f"{path}: is not a state of training ({error}); remove it") from error
        if epoch in (None, there):
            return there, path, tensors
        kept = {**kept, there: path}
    if kept:
        remedy = f"{folder} holds the weights after epoch {', '.join(map(str, sorted(kept)))}; choose from these"
        raise ConfigError("epoch", epoch, remedy)
    raise ConfigError("run", folder, missing_weights(folder, config, "last" if epoch is None else "all"))


def missing_weights(folder: Path, config: RunConfig, kept: str = "last") -> str:
    """Return what to do about a run without weights."""
    if has_diverged(folder):
        return "has no weights, because it diverged; train it at a lower recipe.lr"
    return f"has no weights; train it with {train_command([config], folder, kept)}"


def has_diverged(folder: Path) -> bool:
    """Whether a run has ended in NaN or infinity."""
    outcome = read_outcome(folder)
    return outcome is not None and outcome.state == "diverged"


def _run_folder(run: str | Path) -> Path:
    folder = expand_path("run", str(run))
    if not (folder / CONFIG).is_file():
        raise ConfigError("run", run, "is not the folder of a run, such as results/digits/plain-20-s0")
    return folder


def choose_data(
    own: DataConfig, normalise: str, overrides: Sequence[str], config_dir: str | Path | None = None
) -> Target:
    """Return the data set that `data=` and `data.KEY` ask for, by default the run's own. Raises ConfigError, DataError.

    The statistics are of the run's own data, which must be found; a user's own are, where their name in config.yaml or
    `data.path` leads to, or beside that.
    """
    if not overrides:
        own = _find_own(own, own)
        return Target(own, own, normalise)
    data = _compose(own, overrides, config_dir)
    data = replace(data, fingerprint=sources.fingerprint(data))
    if data.fingerprint and data.fingerprint == own.fingerprint:
        data = replace(data, name=own.name)
    is_same = data.source == own.source and data.fingerprint == own.fingerprint
    if is_same and data.validation not in (0, own.validation):
        remedy = f"these images are of the net's training set; use {own.validation}" + " or 0" * (own.validation > 0)
        raise ConfigError("data.validation", data.validation, remedy)
    own = _find_own(replace(own, root=data.root, download=data.download), data)
    there, here = sources.shape(own), sources.shape(data)
    if (there.image, there.classes) != (here.image, here.classes):
        size = "{}x{}x{} in {} classes"
        needed = f"the net needs {size.format(*there.image, there.classes)}, which it was trained on"
        raise ConfigError("data", data.name, f"holds images of {size.format(*here.image, here.classes)}; {needed}")
    return Target(own, data, normalise)


def _compose(own: DataConfig, overrides: Sequence[str], config_dir: str | Path | None) -> DataConfig:
    if isinstance(overrides, str):
        raise ConfigError("overrides", overrides, f'needs a list, such as ["{overrides}"]')
    keys = [word.lstrip("+").partition("=")[0] for word in overrides]
    for key, word in zip(keys, overrides, strict=True):
        if key != "data" and not key.startswith("data."):
            remedy = "cannot be changed in a trained net; only data=NAME, data.KEY=VALUE and device can be set"
            raise ConfigError(key, word.partition("=")[2], remedy)
    base = []
    if "data" not in keys:
        values = {f"data.{key}": value for key, value in flatten(own) if key != "source" and value is not None}
        # Other data are named by their own file.
        skipped = {*keys, *COMPUTED_KEYS, *(["data.name"] if "data.path" in keys else [])}
        base = [f"data={own.source}", *(f"{k}={as_override(v)}" for k, v in values.items() if k not in skipped)]
    # Any recipe: data of a user's own may have none.
    folder = None if config_dir is None else Path(config_dir)
    points = expand([*base, "recipe=short", *overrides], folder, swept=False).points
    if len(points) > 1:
        raise ConfigError("data", " ".join(overrides), "one data set at a time; leave out all values but one")
    return points[0].config.data


def _find_own(own: DataConfig, data: DataConfig) -> DataConfig:
    """Return the run's own data set at the path where its content is. Raises DataError where it is at none."""
    if own.source not in USER_SOURCES:
        return own
    beside = Path(data.path or "").parent / Path(own.path or "").name
    for path in dict.fromkeys([data.path if data.source == own.source else own.path, own.path, str(beside)]):
        found = replace(own, path=path)
        with suppress(DataError):
            if sources.fingerprint(replace(found, fingerprint="")) == own.fingerprint:
                return found
    remedy = "name them with data.path=" if data == own else "run this in their folder"
    raise DataError("data.path", own.path, f"the data that the net was trained on are not there; {remedy}")


@lru_cache(maxsize=1)
def device_data(target: Target, device: torch.device) -> DeviceData:
    """Return the chosen data set on a device. Raises DataError."""
    own = to_device(sources.load(target.own), target.normalise, 0, device)
    if target.data == target.own:
        return own
    return replace(to_device(sources.load(target.data), "none", 0, device), mean=own.mean, deviation=own.deviation)
