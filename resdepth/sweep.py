"""The plan of a sweep: which runs, in which directories, in which state. Starts nothing, needs no torch."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from resdepth import memory, rundir
from resdepth.compose import Point, expand
from resdepth.config import RunConfig
from resdepth.data import sources
from resdepth.data.sources import Shape
from resdepth.errors import ConfigError
from resdepth.models.size import least_bytes, multiply_adds, parameters
from resdepth.training.schedule import Schedule

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
    def least_bytes(self) -> int:
        """The least memory that a step of training needs."""
        c, s = self.config, self.shape
        sizes = (s.channels, s.height, s.width, s.classes, self.schedule.batch_size)
        return least_bytes(c.depth, c.variant, c.model, *sizes, half=c.precision == "bf16")

    @property
    def label(self) -> str:
        return self.directory.name


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
    def pending(self) -> tuple[PlannedRun, ...]:
        return tuple(run for run in self.runs if run.state != rundir.FINISHED)


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
        if rundir.run_identity(twin.config) != rundir.run_identity(run.config):
            raise ConfigError("name", run.config.name, f"two different runs of the sweep fall into {run.directory}")
    if not swept and len(runs) != 1:
        raise ConfigError("train", len(runs), "makes one run, and these overrides make several; use resdepth sweep")
    return Plan(tuple(runs.values()), sweep.hydra_overrides, repeated=len(sweep.points) - len(runs))


def _place(point: Point, *, restart: bool) -> PlannedRun:
    config = point.config
    mark = sources.fingerprint(config.data)
    config = replace(config, data=replace(config.data, fingerprint=mark))
    folder = rundir.directory(config, point.differences)
    shape = sources.shape(point.config.data)
    try:
        state = rundir.state(folder, config, restart=restart)
    except OSError as error:
        raise ConfigError(
            "results", config.results, f"cannot be used ({error.strerror}); say results=FOLDER"
        ) from error
    run = PlannedRun(config, folder, state, shape)
    require_memory(run, _NO_DEVICE, "no device has more than")
    return run


def require_memory(run: PlannedRun, there: int, whose: str) -> None:
    """Raises ConfigError, before any memory is touched, for a run that cannot fit into so many bytes."""
    if run.least_bytes > there:
        c, needed = run.config, memory.in_words(run.least_bytes)
        net = f"with model.width={c.model.width} and minibatches of {run.schedule.batch_size}"
        remedy = f"{whose} {memory.in_words(there)}; lower depth, model.width or recipe.batch_size"
        raise ConfigError("depth", c.depth, f"{net} needs at least {needed} of memory and {remedy}")
