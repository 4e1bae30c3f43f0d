"""The plan of a sweep: which runs, in which directories, in which state. Trains nothing and needs no torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from resdepth.config.compose import Point, expand
from resdepth.config.keys import run_identity
from resdepth.config.schema import RunConfig
from resdepth.data import sources
from resdepth.data.dataset import Shape
from resdepth.errors import ConfigError
from resdepth.host import format_bytes
from resdepth.models.size import min_memory_bytes, multiply_adds, parameters, stage_outputs
from resdepth.results.run_directory import RunState, read_state, run_path
from resdepth.training.schedule import Schedule

_LIBRARIES_BYTES = 400 * 2**20  # of a process that has loaded torch
_MAX_DEVICE_BYTES = 2**40  # more than any device has, or will have soon


@dataclass(frozen=True)
class RunSpec:
    """A configuration and the shape of its data: what a run's size, length and memory follow from."""

    config: RunConfig
    shape: Shape

    @property
    def schedule(self) -> Schedule:
        """Lengths in iterations, and learning rates."""
        return Schedule.of(self.config.recipe, self.shape.train_images)

    @property
    def parameters(self) -> int:
        """Number of trained parameters."""
        c = self.config
        return parameters(c.depth, c.variant, c.model, self.shape.image, self.shape.classes)

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds of one image's forward pass."""
        return multiply_adds(self.config.depth, self.config.model, self.shape.image, self.shape.classes)

    @property
    def total_multiply_adds(self) -> int:
        """Multiply-adds of all forward passes of the training, to which its time is proportional."""
        return self.multiply_adds * self.schedule.batch_size * self.schedule.iterations

    @property
    def min_memory_bytes(self) -> int:
        """Memory that a training step needs at least, bytes."""
        c, s = self.config, self.shape
        sizes = (s.image, s.classes, self.schedule.batch_size)
        is_half, is_recomputed = c.precision == "bf16", c.gradient_checkpointing
        return min_memory_bytes(c.depth, c.variant, c.model, *sizes, half=is_half, recomputed=is_recomputed)

    @property
    def own_memory_bytes(self) -> int:
        """Memory that training needs on its device, roughly, of its own, bytes: step, evaluation, a copy to save."""
        s = self.shape
        # Of a batch of 1,000 images, three outputs of the stage with the largest at a time.
        evaluation_bytes = 3 * 4 * min(1000, s.train_images) * max(stage_outputs(self.config.model, s.image))
        copied_bytes = 2 * 4 * self.parameters  # weights and momenta
        return round(1.25 * self.min_memory_bytes) + evaluation_bytes + copied_bytes

    @property
    def process_memory_bytes(self) -> int:
        """Memory that the runs of one process share, roughly: data and libraries, bytes."""
        s = self.shape
        return 4 * s.train_images * s.channels * s.height * s.width + _LIBRARIES_BYTES

    def require_memory(self, available: int, owner: str) -> None:
        """Raises ConfigError, before any memory is allocated, for a run that needs more than `available` bytes."""
        if self.min_memory_bytes > available:
            c, needed = self.config, format_bytes(self.min_memory_bytes)
            key = "model.widths" if c.model.architecture == "dense" else "model.width"
            width = c.model.widths if c.model.architecture == "dense" else c.model.width
            net = f"with {key}={width} and minibatches of {self.schedule.batch_size}"
            remedy = f"{owner} {format_bytes(available)}; lower depth, {key} or recipe.batch_size"
            raise ConfigError("depth", c.depth, f"{net} needs at least {needed} of memory and {remedy}")


@dataclass(frozen=True)
class PlannedRun(RunSpec):
    """A run with its directory and state. Its `config` holds fingerprint and classes of a user's own data."""

    directory: Path
    state: RunState

    @property
    def label(self) -> str:
        """The directory's name."""
        return self.directory.name


@dataclass(frozen=True)
class Launcher:
    """Hydra's launcher of a sweep: its name on the command line, and its settings."""

    name: str
    settings: Mapping[str, Any]

    @property
    def is_external(self) -> bool:
        """Whether it executes the runs in processes of its own, perhaps on other machines."""
        return not self.settings["_target_"].endswith(".BasicLauncher")

    @property
    def is_slurm(self) -> bool:
        """Whether it submits jobs to Slurm, by whichever file of settings."""
        return bool(self.settings["_target_"].endswith(".SlurmLauncher"))


@dataclass(frozen=True)
class Plan:
    """Every run of a sweep, in order, and how Hydra launches it. `repeated` counts the points equal to another one."""

    runs: tuple[PlannedRun, ...]
    hydra_overrides: tuple[str, ...]
    launcher: Launcher
    repeated: int

    @property
    def folders(self) -> tuple[Path, ...]:
        """The experiments' folders, in order."""
        return tuple(dict.fromkeys(run.directory.parent for run in self.runs))

    @property
    def pending(self) -> tuple[PlannedRun, ...]:
        """The runs that are to be trained."""
        return tuple(run for run in self.runs if run.state is not RunState.FINISHED)

    @property
    def results(self) -> Path:
        """The folder of all results, that of the first run."""
        return self.runs[0].directory.parents[1]


def longest_first(runs: Sequence[RunSpec]) -> list[int]:
    """Return the indices of the runs, the longest first: started so side by side, they end together."""
    return sorted(range(len(runs)), key=lambda i: -runs[i].total_multiply_adds)


def make_plan(
    overrides: Sequence[str], config_dir: Path | None = None, *, swept: bool = True, restart: bool = False
) -> Plan:
    """Expand and validate every run of a sweep. Reads a user's own data; downloads nothing, writes nothing.

    `swept=False` plans a single run, without the default axes. With `restart` every run is planned from its start.
    Raises ConfigError or DataError, one line, if any point of the sweep is invalid.
    """
    sweep = expand(overrides, config_dir, swept=swept)
    runs: dict[Path, PlannedRun] = {}
    for point in sweep.points:
        run = _plan_run(point, restart=restart)
        twin = runs.setdefault(run.directory, run)
        if twin is not run and run_identity(twin.config) != run_identity(run.config):
            raise ConfigError(
                "name", run.config.name, f"two different runs of the sweep would share {run.directory}; leave name= out"
            )
    if not swept and len(runs) != 1:
        remedy = f"train makes one run; these overrides make {len(runs)}; use resdepth sweep"
        raise ConfigError("overrides", " ".join(overrides), remedy)
    launcher = Launcher(*sweep.launcher)
    if "_target_" not in launcher.settings:
        remedy = "its file names no launcher; begin it with the two lines `defaults:` and `  - slurm`"
        raise ConfigError("hydra/launcher", launcher.name, remedy)
    repeated = len(sweep.points) - len(runs)
    return Plan(tuple(runs.values()), sweep.hydra_overrides, launcher, repeated)


def make_specs(overrides: Sequence[str]) -> tuple[RunSpec, ...]:
    """Return every point of the overrides, to be measured rather than trained. Raises ConfigError or DataError."""
    found = expand(overrides)
    for override in found.hydra_overrides:
        field, _, value = override.partition("=")
        raise ConfigError(field, value, "is for sweeps; a bench measures in this process, so leave it out")
    return tuple(RunSpec(point.config, sources.shape(point.config.data)) for point in found.points)


def _plan_run(point: Point, *, restart: bool) -> PlannedRun:
    data, fingerprint = point.config.data, sources.fingerprint(point.config.data)
    shape = sources.shape(data)
    classes = shape.classes if fingerprint else None
    config = replace(point.config, data=replace(data, fingerprint=fingerprint, classes=classes))
    folder = run_path(config, point.non_defaults)
    try:
        state = read_state(folder, config, restart=restart)
    except OSError as error:
        remedy = f"{folder} cannot be used ({error.strerror}); set results=FOLDER"
        raise ConfigError("results", config.results, remedy) from error
    run = PlannedRun(config, shape, folder, state)
    run.require_memory(_MAX_DEVICE_BYTES, "no device has more than")
    return run
