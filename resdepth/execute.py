"""A plan carried out: everything that can be wrong is found first, then every run is launched."""

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from resdepth import device as devices
from resdepth import rundir
from resdepth.data import sources
from resdepth.data.augment import draw_order, generator
from resdepth.data.dataset import Dataset, Split
from resdepth.data.resident import reside
from resdepth.errors import ConfigError
from resdepth.launch import launch
from resdepth.models.conv import build
from resdepth.models.size import multiply_adds
from resdepth.progress import Observer
from resdepth.records import Outcome
from resdepth.run import run
from resdepth.sweep import Plan, PlannedRun, require_memory
from resdepth.training.step import Step

# How long the estimate may measure.
_PROBE_SECONDS, _MOST_STEPS = 1.0, 30


@dataclass(frozen=True)
class _Work:
    """Job i trains run i. Picklable where the observer is."""

    runs: tuple[PlannedRun, ...]
    observer: Callable[[], Observer]

    def __call__(self, job: int) -> Outcome:
        return run(self.runs[job], self.observer())


def execute(plan: Plan, observer: Callable[[], Observer], config_dir: Path | None = None) -> list[Outcome]:
    """Train every pending run of the plan through Hydra's launcher; one outcome each, in order.

    `observer` makes the display a job reports to; a launcher that leaves this process pickles it.
    Raises ConfigError, before anything is written, for what only the device or the data can tell.
    """
    check(plan)
    if not plan.pending:
        return []
    for planned in plan.pending:
        # All of them first: after a break, what is finished is then what this sweep has trained.
        if planned.state == rundir.RESTARTED:
            rundir.set_aside(planned.directory)
    results = plan.pending[0].directory.parents[1]
    return launch(_Work(plan.pending, observer), len(plan.pending), plan.hydra_overrides, results, config_dir)


def check(plan: Plan) -> None:
    """Load every data set, ask for every device and every directory. Raises ConfigError or DataError."""
    for planned in plan.pending:
        rundir.refuse_locked(planned.directory, planned.config)
        require_memory(planned, devices.memory_bytes(devices.resolve(planned.config.device)), "this device has")
    for config in {(r.config.device, r.config.precision): r.config for r in plan.pending}.values():
        devices.set_precision(config.precision, devices.resolve(config.device))
    for data in {r.config.data: None for r in plan.pending}:
        sources.load(data)
    for folder in dict.fromkeys(planned.directory.parent for planned in plan.pending):
        _require_writable(folder)


def _require_writable(folder: Path) -> None:
    """Raises ConfigError where no file can be made below an experiment's folder."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for place in (folder, folder.parent):
            with tempfile.TemporaryFile(dir=place):
                pass
    except OSError as error:
        raise ConfigError("results", folder, f"cannot be written to ({error.strerror}); say results=FOLDER") from error


def estimate_seconds(plan: Plan) -> float | None:
    """How long the pending runs will take, from a few timed steps of a net of 8 layers on data of the same shape.

    Time grows with the multiply-adds, for a given width and map size: depth multiplies both them and the layers. None
    where even the small net does not fit; the run itself will say so.
    """
    cache: dict[tuple[object, ...], float] = {}
    total = 0.0
    for planned in plan.pending:
        c, s = planned.config, planned.shape
        key = (c.device, c.precision, c.model.width, replace(s, train_images=0), planned.schedule.batch_size)
        if key not in cache:
            small = multiply_adds(8, c.model, s.channels, s.height, s.width, s.classes)
            try:
                cache[key] = _step_seconds(planned) / small
            except Exception:  # torch raises many kinds; whatever it is, the run itself will say so
                return None
        total += cache[key] * planned.multiply_adds * planned.schedule.iterations
    return total


def _step_seconds(planned: PlannedRun) -> float:
    config, shape, batch = planned.config, planned.shape, planned.schedule.batch_size
    device = devices.resolve(config.device)
    devices.set_precision(config.precision, device)
    source = generator(0, 0)
    images = torch.randint(
        0, 256, (batch, shape.channels, shape.height, shape.width), dtype=torch.uint8, generator=source
    )
    labels = torch.randint(0, shape.classes, (batch,), generator=source)
    split = Split(images.numpy(), labels.numpy())
    data = reside(Dataset(split, split, shape.classes), config.recipe.normalise, device)
    net = build(8, config.variant, config.model, shape.channels, shape.classes, source)
    net = net.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    step = Step(net, data, config.recipe, config.precision)
    step.begin_epoch(draw_order(0, 1, batch, batch, 1, config.recipe.pad, config.recipe.flip))
    times: list[float] = []
    while len(times) < 2 or (sum(times) < _PROBE_SECONDS and len(times) < _MOST_STEPS):
        started = time.perf_counter()
        step(0, config.recipe.lr)
        step.totals()  # waits for the device
        times.append(time.perf_counter() - started)
    return min(times[1:])
