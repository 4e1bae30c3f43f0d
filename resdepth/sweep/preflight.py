"""What would fail, and how long it takes."""

import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from resdepth import device as devices
from resdepth.data import sources
from resdepth.data.augment import draw_order
from resdepth.data.dataset import Dataset, Split
from resdepth.data.device_data import to_device
from resdepth.data.seeding import generator
from resdepth.errors import ConfigError
from resdepth.models.build import build
from resdepth.models.size import multiply_adds
from resdepth.results import run_directory
from resdepth.sweep.groups import make_groups
from resdepth.sweep.plan import Plan, PlannedRun, require_memory
from resdepth.training import engine
from resdepth.training.step import Step

# How long the estimate may measure.
_PROBE_SECONDS, _MOST_STEPS = 1.0, 30


def check(plan: Plan) -> None:
    """Load every data set, ask for every device and every directory. Raises ConfigError or DataError."""
    for planned in plan.pending:
        run_directory.require_unlocked(planned.directory, planned.config)
    check_devices(plan.pending)
    for data in {r.config.data: None for r in plan.pending}:
        sources.load(data)
    for folder in dict.fromkeys(planned.directory.parent for planned in plan.pending):
        _require_writable(folder)


def check_devices(runs: Sequence[PlannedRun]) -> None:
    """Raises ConfigError for a device, precision or engine that is not to be had here, and for too large a net."""
    for planned in runs:
        require_memory(planned, devices.memory_bytes(devices.resolve(planned.config.device)), "this device has")
    for c in {(r.config.device, r.config.precision, r.config.engine): r.config for r in runs}.values():
        device = devices.resolve(c.device)
        devices.set_precision(c.precision, device)
        engine.choose(c.engine, device)


def _require_writable(folder: Path) -> None:
    """Raises ConfigError where no file can be made below an experiment's folder."""
    place = folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for place in (folder, folder.parent):
            with tempfile.TemporaryFile(dir=place):
                pass
    except OSError as error:
        remedy = f"{place} cannot be written to ({error.strerror}); say results=FOLDER"
        raise ConfigError("results", folder.parent, remedy) from error


def estimate_seconds(plan: Plan) -> float | None:
    """How long the pending runs will take, from a few timed steps of a net of 8 layers on data of the same shape.

    Time grows with the multiply-adds, for a given width and map size: depth multiplies both them and the layers. None
    where even the small net does not fit; the run itself will say so. What runs side by side on a GPU gain is not
    counted.
    """
    cache: dict[tuple[object, ...], float] = {}
    total = 0.0
    for group in make_groups(plan):
        with devices.threads(1 if group.uses_processes else None):
            try:
                seconds = [_run_seconds(planned, cache) for planned in group.runs]
            except Exception:  # torch raises many kinds; whatever it is, the run itself will say so
                return None
        total += max(sum(seconds) / group.concurrency, *seconds) if group.uses_processes else sum(seconds)
    return total


def _run_seconds(planned: PlannedRun, cache: dict[tuple[object, ...], float]) -> float:
    c, s = planned.config, planned.shape
    key = (c.device, c.precision, c.model.width, replace(s, train_images=0), planned.schedule.batch_size)
    if key not in cache:
        small = multiply_adds(8, c.model, s.channels, s.height, s.width, s.classes)
        cache[key] = _step_seconds(planned) / small
    return cache[key] * planned.multiply_adds * planned.schedule.iterations


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
    data = to_device(Dataset(split, split, shape.classes), config.recipe.normalise, config.recipe.pad, device)
    net = build(8, config.variant, config.model, shape.channels, shape.classes, source)
    net = net.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    step = Step(net, data, config.recipe, config.precision, (1, batch))
    order = draw_order(0, 1, batch, batch, 1, config.recipe.pad, config.recipe.flip)
    times: list[float] = []
    while len(times) < 2 or (sum(times) < _PROBE_SECONDS and len(times) < _MOST_STEPS):
        started = time.perf_counter()
        step.begin_epoch(order, [config.recipe.lr])
        step()
        step.epoch_metrics()  # waits for the device
        times.append(time.perf_counter() - started)
    return min(times[1:])
