"""The plan of a sweep: which runs, in which directories, in which state. Starts nothing, needs no torch."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from resdepth import rundir
from resdepth.compose import Point, expand
from resdepth.config import RunConfig
from resdepth.data import sources
from resdepth.data.sources import Shape
from resdepth.errors import ConfigError
from resdepth.models.size import conv_outputs, multiply_adds, parameters
from resdepth.training.schedule import Schedule

# What a process that has loaded torch takes for itself, bytes.
_LIBRARIES = 400 * 2**20


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
    def work(self) -> int:
        """Multiply-adds of the whole run's forward passes: its share of a sweep's time."""
        return self.multiply_adds * self.schedule.batch_size * self.schedule.iterations

    @property
    def memory(self) -> int:
        """Bytes that training needs on its device, roughly: weights, activations, the data, the libraries."""
        c, s = self.config, self.shape
        weights = 5 * 4 * self.parameters  # with gradient, momentum, and a copy for a checkpoint
        # Kept for the backward pass: each convolution's input and output; of a recomputed block its input alone.
        kept = (0.5 if c.gradient_checkpointing else 2.0) * conv_outputs(c.depth, c.model, s.height, s.width)
        images = 4 * s.train_images * s.channels * s.height * s.width
        return round(weights + 4 * kept * self.schedule.batch_size + images + _LIBRARIES)

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
    def leaves_process(self) -> bool:
        """Whether another launcher than Hydra's basic one carries the runs out, in processes of its own."""
        return any(o.lstrip("+").startswith("hydra/launcher=") and "basic" not in o for o in self.hydra_overrides)

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


def unplaced(overrides: Sequence[str]) -> tuple[PlannedRun, ...]:
    """Every point of the overrides as a run without a directory, to be measured; none counts as done or repeated."""
    points = expand(overrides).points
    return tuple(PlannedRun(p.config, Path(), rundir.NEW, sources.shape(p.config.data)) for p in points)


def _place(point: Point, *, restart: bool) -> PlannedRun:
    config = point.config
    mark = sources.fingerprint(config.data)
    config = replace(config, data=replace(config.data, fingerprint=mark))
    folder = rundir.directory(config, point.differences)
    shape = sources.shape(point.config.data)
    return PlannedRun(config, folder, rundir.state(folder, config, restart=restart), shape)
