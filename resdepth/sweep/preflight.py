"""Checks before the first run starts, and an estimate of the time."""

import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from resdepth import device as devices
from resdepth.data import sources
from resdepth.data.augment import draw_order
from resdepth.data.device_data import to_device
from resdepth.data.synthetic import random_dataset
from resdepth.errors import ConfigError
from resdepth.results.run_directory import require_unlocked
from resdepth.sweep.groups import Group, make_groups
from resdepth.sweep.plan import Plan, PlannedRun, RunSpec
from resdepth.training import engine
from resdepth.training.trainer import Trainer

# How long the estimate may measure.
_PROBE_SECONDS, _MAX_PROBE_STEPS = 1.0, 30


@dataclass(frozen=True)
class ReadySweep:
    """A plan that has passed its checks, and its groups."""

    plan: Plan
    groups: tuple[Group, ...]


def preflight(plan: Plan) -> ReadySweep:
    """Check locks, data sets and folders, and the device where the runs are executed in this process.

    Another launcher's jobs check their device themselves (`require_devices`): it may not exist on this machine.
    Raises ConfigError or DataError; no run's directory is written.
    """
    for run in plan.pending:
        require_unlocked(run.directory, run.config)
    if not plan.uses_external_launcher:
        require_devices(plan.pending)
    for data in dict.fromkeys(run.config.data for run in plan.pending):
        sources.load(data)
    for folder in dict.fromkeys(run.directory.parent for run in plan.pending):
        _require_writable(folder)
    return ReadySweep(plan, make_groups(plan))


def require_devices(runs: Sequence[RunSpec]) -> None:
    """Raises ConfigError for a device, precision or engine that is not available here, and for too large a net."""
    for run in runs:
        run.require_memory(devices.memory_bytes(devices.resolve(run.config.device)), "this device has")
    settings = ((run.config.device, run.config.precision, run.config.engine) for run in runs)
    for name, precision, engine_name in dict.fromkeys(settings):
        device = devices.resolve(name)
        devices.require_precision(precision, device)
        engine.choose(engine_name, device)


def _require_writable(folder: Path) -> None:
    """Raises ConfigError where no file can be created in an experiment's folder or beside it."""
    place = folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for place in (folder, folder.parent):
            with tempfile.TemporaryFile(dir=place):
                pass
    except OSError as error:
        remedy = f"{place} cannot be written to ({error.strerror}); set results=FOLDER"
        raise ConfigError("results", folder.parent, remedy) from error


def estimate_seconds(ready: ReadySweep) -> float | None:
    """Estimate how long the runs will take, from a few timed steps of a net of 8 layers on data of the same shape.

    At one width and map size, time grows with the multiply-adds. Not counted: what runs at once on a GPU gain. None
    where the small net cannot be trained (the run itself will report why), and with another launcher.
    """
    if ready.plan.uses_external_launcher or not ready.groups:
        return None
    probes: dict[tuple[object, ...], float] = {}
    total = 0.0
    for group in ready.groups:
        with devices.threads(1 if group.uses_processes else None):
            try:
                seconds = [_run_seconds(run, probes) for run in group.runs]
            except Exception:  # torch raises many kinds
                return None
        total += max(sum(seconds) / group.concurrency, *seconds) if group.uses_processes else sum(seconds)
    return total


def _run_seconds(run: PlannedRun, probes: dict[tuple[object, ...], float]) -> float:
    """Estimate a run's time from the seconds per multiply-add of a step; runs of one shape share a probe."""
    c = run.config
    key = (c.device, c.precision, c.model.width, replace(run.shape, train_images=0), run.schedule.batch_size)
    if key not in probes:
        small = RunSpec(replace(c, depth=8, engine="eager"), run.shape)
        probes[key] = _step_seconds(small) / small.multiply_adds
    return probes[key] * run.multiply_adds * run.schedule.iterations


def _step_seconds(spec: RunSpec) -> float:
    """Time a training step: the minimum over about a second."""
    config, recipe, batch = spec.config, spec.config.recipe, spec.schedule.batch_size
    device = devices.resolve(config.device)
    devices.set_precision(config.precision, device)
    step = Trainer(config, to_device(random_dataset(spec.shape, batch), recipe.normalise, recipe.pad, device)).step
    order = draw_order(0, 1, batch, batch, 1, recipe.pad, recipe.flip)
    times: list[float] = []
    while len(times) < 2 or (sum(times) < _PROBE_SECONDS and len(times) < _MAX_PROBE_STEPS):
        started = time.perf_counter()
        step.begin_epoch(order, [recipe.lr])
        step()
        step.epoch_metrics()  # waits for the device
        times.append(time.perf_counter() - started)
    return min(times[1:])
