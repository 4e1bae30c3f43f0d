"""The plan of a sweep: which runs, in which directories, in which state. Starts nothing, needs no torch."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from resdepth import host
from resdepth.config.compose import Point, expand
from resdepth.config.keys import run_identity
from resdepth.config.schema import RunConfig
from resdepth.data import sources
from resdepth.data.dataset import Shape
from resdepth.errors import ConfigError
from resdepth.models.size import min_memory_bytes, multiply_adds, parameters
from resdepth.results import run_directory
from resdepth.training.schedule import Schedule

# What a process that has loaded torch takes for itself, bytes.
_LIBRARIES = 400 * 2**20
# More than any one device has, and than one will have soon.
_NO_DEVICE = 2**40


@dataclass(frozen=True)
class PlannedRun:
    """One run of a plan. `config` names its data by their fingerprint where they are the user's own."""

    config: RunConfig
    directory: Path
    state: str
    shape: Shape

    @property
    def parameters(self) -> int:
        c = self.config
        return parameters(c.depth, c.variant, c.model, self.shape.channels, self.shape.classes)

    @property
    def schedule(self) -> Schedule:
        return Schedule.of(self.config.recipe, self.shape.train_images)

    @property
    def multiply_adds(self) -> int:
        """Of one image's forward pass."""
        s = self.shape
        return multiply_adds(self.config.depth, self.config.model, s.channels, s.height, s.width, s.classes)

    @property
    def total_multiply_adds(self) -> int:
        """Multiply-adds of the whole run's forward passes: its share of a sweep's time."""
        return self.multiply_adds * self.schedule.batch_size * self.schedule.iterations

    @property
    def estimated_memory_bytes(self) -> int:
        """Bytes that training needs on its device, roughly: the step, the data, the libraries."""
        s = self.shape
        return round(1.25 * self.min_memory_bytes) + 4 * s.train_images * s.channels * s.height * s.width + _LIBRARIES

    @property
    def min_memory_bytes(self) -> int:
        """The least memory that a step of training needs."""
        c, s = self.config, self.shape
        sizes = (s.channels, s.height, s.width, s.classes, self.schedule.batch_size)
        is_half, is_recomputed = c.precision == "bf16", c.gradient_checkpointing
        return min_memory_bytes(c.depth, c.variant, c.model, *sizes, half=is_half, recomputed=is_recomputed)

    @property
    def label(self) -> str:
        return self.directory.name


def longest_first(runs: Sequence[PlannedRun]) -> list[int]:
    """The numbers of the runs in the order in which to begin those that go side by side, so that all end together."""
    return sorted(range(len(runs)), key=lambda number: -runs[number].total_multiply_adds)


@dataclass(frozen=True)
class Plan:
    """Every run of a sweep, in order, and Hydra's own overrides. `repeated` points were equal to another one."""

    runs: tuple[PlannedRun, ...]
    hydra_overrides: tuple[str, ...]
    repeated: int

    @property
    def folders(self) -> tuple[Path, ...]:
        """The experiments' folders, in order."""
        return tuple(dict.fromkeys(run.directory.parent for run in self.runs))

    @property
    def uses_external_launcher(self) -> bool:
        """Whether another launcher than Hydra's basic one carries the runs out, in processes of its own."""
        return any(o.lstrip("+").startswith("hydra/launcher=") and "basic" not in o for o in self.hydra_overrides)

    @property
    def pending(self) -> tuple[PlannedRun, ...]:
        return tuple(run for run in self.runs if run.state != run_directory.FINISHED)


def make_plan(
    overrides: Sequence[str], config_dir: Path | None = None, *, swept: bool = True, restart: bool = False
) -> Plan:
    """Expand, validate and place every run. Reads a user's own data, downloads nothing, writes nothing.

    With `restart` no run counts as finished or begun.

    Raises ConfigError or DataError, one line, if any point of the sweep is wrong.
    """
    sweep = expand(overrides, config_dir, swept=swept)
    runs: dict[Path, PlannedRun] = {}
    for point in sweep.points:
        run = _place(point, restart=restart)
        twin = runs.setdefault(run.directory, run)
        if run_identity(twin.config) != run_identity(run.config):
            raise ConfigError("name", run.config.name, f"two different runs of the sweep fall into {run.directory}")
    if not swept and len(runs) != 1:
        raise ConfigError("train", len(runs), "makes one run, and these overrides make several; use resdepth sweep")
    return Plan(tuple(runs.values()), sweep.hydra_overrides, repeated=len(sweep.points) - len(runs))


def make_specs(overrides: Sequence[str]) -> tuple[PlannedRun, ...]:
    """Every point of the overrides as a run without a directory, to be measured; none counts as done or repeated.

    Raises ConfigError or DataError.
    """
    found = expand(overrides)
    for override in found.hydra_overrides:
        field, _, value = override.partition("=")
        raise ConfigError(field, value, "is for sweeps; a bench measures in this process, so leave it out")
    return tuple(PlannedRun(p.config, Path(), run_directory.NEW, sources.shape(p.config.data)) for p in found.points)


def _place(point: Point, *, restart: bool) -> PlannedRun:
    config = point.config
    mark = sources.fingerprint(config.data)
    config = replace(config, data=replace(config.data, fingerprint=mark))
    folder = run_directory.run_path(config, point.non_defaults)
    shape = sources.shape(point.config.data)
    try:
        state = run_directory.state(folder, config, restart=restart)
    except OSError as error:
        raise ConfigError(
            "results", config.results, f"{folder} cannot be used ({error.strerror}); say results=FOLDER"
        ) from error
    run = PlannedRun(config, folder, state, shape)
    require_memory(run, _NO_DEVICE, "no device has more than")
    return run


def require_memory(run: PlannedRun, there: int, whose: str) -> None:
    """Raises ConfigError, before any memory is touched, for a run that cannot fit into so many bytes."""
    if run.min_memory_bytes > there:
        c, needed = run.config, host.format_bytes(run.min_memory_bytes)
        net = f"with model.width={c.model.width} and minibatches of {run.schedule.batch_size}"
        remedy = f"{whose} {host.format_bytes(there)}; lower depth, model.width or recipe.batch_size"
        raise ConfigError("depth", c.depth, f"{net} needs at least {needed} of memory and {remedy}")
