"""Checks before the first run starts, and an estimate of the time."""

import contextlib
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from resdepth import device as devices
from resdepth.data import sources
from resdepth.data.device_data import DeviceData, to_device
from resdepth.data.synthetic import random_dataset
from resdepth.errors import ConfigError, trace
from resdepth.host import cores
from resdepth.models.build import require_join
from resdepth.results.files.lock import require_unlocked
from resdepth.sweep.compilation import compile_blocks
from resdepth.sweep.groups import Group, make_groups, make_jobs
from resdepth.sweep.jobs import slurm
from resdepth.sweep.plan import Plan, PlannedRun, RunSpec
from resdepth.training import engine
from resdepth.training.timing import window_steps, windows
from resdepth.training.trainer import Trainer

# The depths that the estimate times at most, and how long it may measure each.
_SHALLOW, _DEEP = 8, 20
_PROBE_SECONDS, _MAX_PROBE_WINDOWS = 0.5, 20
_POLL_SECONDS = 0.01
# What a run takes besides its steps, seconds: its process, its first step, its files. Measured on a CPU of two cores.
_RUN_SECONDS = 0.7


@dataclass(frozen=True)
class ReadySweep:
    """A plan that has passed its checks, with its groups, or with the jobs of an external launcher."""

    plan: Plan
    groups: tuple[Group, ...] = ()
    jobs: tuple[tuple[PlannedRun, ...], ...] = ()


def preflight(plan: Plan) -> ReadySweep:
    """Check locks, data sets and folders, and the device where the runs are executed in this process.

    The jobs of an external launcher check their device themselves (`require_devices`): it may not exist on this
    machine. Data are loaded, and where that is needed downloaded, here and before the first job.
    Raises ConfigError or DataError; no run's directory is written.
    """
    if plan.launcher.is_slurm:
        slurm.require_commands(plan.launcher)
    else:  # on Slurm a run that another process trains is waited for
        for run in plan.pending:
            require_unlocked(run.directory, run.config)
    _require_joins(plan.pending)
    if not plan.launcher.is_external:
        require_devices(plan.pending)
    for data in dict.fromkeys(run.config.data for run in plan.pending):
        sources.load(data)
    for folder in dict.fromkeys(run.directory.parent for run in plan.pending):
        _require_writable(folder)
    return _grouped(plan)


def _grouped(plan: Plan) -> ReadySweep:
    if plan.launcher.is_external:
        return ReadySweep(plan, jobs=make_jobs(plan))
    return ReadySweep(plan, groups=make_groups(plan.runs, plan.pending))


def require_devices(runs: Sequence[RunSpec]) -> None:
    """Raises ConfigError for a device, precision or engine that is not available here, and for too large a net."""
    for run in runs:
        run.require_memory(devices.memory_bytes(devices.resolve(run.config.device)), "this device has")
    for count in dict.fromkeys(run.config.threads for run in runs):
        if count != "auto" and int(count) > cores():
            raise ConfigError("threads", count, f"this process may use {cores()} cores; use threads=auto or fewer")
    settings = ((run.config.device, run.config.precision, run.config.engine) for run in runs)
    for name, precision, engine_name in dict.fromkeys(settings):
        device = devices.resolve(name)
        devices.require_precision(precision, device)
        engine.choose(engine_name, device)


def unchecked(plan: Plan) -> ReadySweep:
    """Group a plan's runs without loading data or writing anything, for an estimate. Raises ConfigError."""
    if not plan.launcher.is_external:
        require_devices(plan.pending)
    return _grouped(plan)


def _require_joins(runs: Sequence[RunSpec]) -> None:
    """Raises ConfigError for a user's own variant whose join does not work."""
    configs = [run.config for run in runs if run.config.plugin]
    for c in {(c.variant, c.model.architecture, c.precision): c for c in configs}.values():
        require_join(c.variant, c.model, torch.bfloat16 if c.precision == "bf16" else torch.float32)


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
    """Estimate how long the runs will take, from a few timed steps of small nets on the engine that will run.

    None where the small nets cannot be trained (the runs themselves will report why), and with another launcher.
    """
    if ready.plan.launcher.is_external:
        return None
    probes: dict[tuple[object, ...], _Probe] = {}
    try:
        return sum(_group_seconds(group, probes) for group in ready.groups) or None
    except Exception:  # torch raises many kinds
        trace()
        return None


@dataclass(frozen=True)
class _Probe:
    """Seconds of a step by depth, for a net alone; and how many times as fast several at once are together."""

    seconds: dict[int, float]
    gain: float

    def step_seconds(self, depth: int) -> float:
        """Extend the line through the depths measured: every block of a stage costs the same."""
        low, high = min(self.seconds), max(self.seconds)
        slope = max(0.0, (self.seconds[high] - self.seconds[low]) / max(1, high - low))
        return self.seconds[low] + slope * (depth - low)


def _group_seconds(group: Group, probes: dict[tuple[object, ...], _Probe]) -> float:
    """Estimate a group's time: of all its runs side by side, but no less than the longest takes alone."""
    if group.parts:  # of devices that are alike, and whose memory is to be free when their processes start
        first = group.parts[0].runs[0].config.device
        alike = [replace(part, runs=tuple(_on(first, run) for run in part.runs)) for part in group.parts]
        seconds = max(_group_seconds(part, probes) for part in alike)
        torch.cuda.empty_cache()
        return seconds
    count = min(group.concurrency, len(group.runs))
    deepest = max(run.config.depth for run in group.runs)
    alone, together = [], []
    for run in group.runs:
        c = run.config
        deep = max(c.model.min_depth, min(_DEEP, deepest))
        # Engine and layout are the same in all runs of a sweep.
        key = (
            c.device,
            c.precision,
            repr(c.model),
            replace(run.shape, train_images=0),
            run.schedule.batch_size,
            count,
            deep,
        )
        if key not in probes:
            with devices.threads(group.threads, pinned=group.pins_threads):
                probes[key] = _measure(run, deep, 1 if group.uses_processes else count)
        steps = probes[key].step_seconds(c.depth) * run.schedule.iterations
        alone.append(steps + _RUN_SECONDS)
        # A process for each run leaves no run waiting for another.
        together.append(alone[-1] / count if group.uses_processes else steps / probes[key].gain + _RUN_SECONDS)
    return max(sum(together), *alone)


def _on(device: str, run: PlannedRun) -> PlannedRun:
    return replace(run, config=replace(run.config, device=device))


def timing_data(spec: RunSpec, device: torch.device) -> DeviceData:
    """Return random images of the run's shape on the device: a window of minibatches."""
    recipe, images = spec.config.recipe, window_steps(device.type) * spec.schedule.batch_size
    return to_device(random_dataset(spec.shape, images), recipe.normalise, recipe.pad, device)


@contextlib.contextmanager
def timed_trainers(spec: RunSpec, count: int, data: DeviceData) -> Iterator[list[Trainer]]:
    """Yield `count` trainers of the run on its `timing_data`, with compiled blocks, and close them in the end."""
    # The minibatches of a training set smaller than the recipe's are smaller, too.
    recipe = replace(spec.config.recipe, batch_size=spec.schedule.batch_size)
    config = replace(spec.config, recipe=recipe)
    with contextlib.ExitStack() as stack:
        trainers = [stack.enter_context(contextlib.closing(Trainer(config, data))) for _ in range(count)]
        for _ in compile_blocks(trainers[0]):
            time.sleep(_POLL_SECONDS)
        yield trainers


def _measure(spec: RunSpec, deep: int, count: int) -> _Probe:
    """Time steps of a net of 8 layers and of one of `deep`, and of `count` of the smaller one at once."""
    device = devices.resolve(spec.config.device)
    devices.set_precision(spec.config.precision, device)
    data, window = timing_data(spec, device), window_steps(device.type)
    shallow = max(_SHALLOW, spec.config.model.min_depth)
    seconds, gain = {}, 1.0
    for depth in dict.fromkeys((max(deep, shallow), shallow)):
        number = count if depth == shallow else 1
        with timed_trainers(replace(spec, config=replace(spec.config, depth=depth)), number, data) as trainers:
            seconds[depth] = _fastest(windows(trainers[:1], window))
            if number > 1:
                gain = max(1.0, seconds[depth] / _fastest(windows(trainers, window)))
    return _Probe(seconds, gain)


def _fastest(times: Iterator[float]) -> float:
    """Return the minimum of the times that come within half a second, the first left out, which warms up."""
    next(times)
    started, fastest = time.perf_counter(), next(times)
    for _ in range(_MAX_PROBE_WINDOWS):
        if time.perf_counter() - started > _PROBE_SECONDS:
            break
        fastest = min(fastest, next(times))
    return fastest
