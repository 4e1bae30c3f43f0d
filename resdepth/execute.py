"""A plan carried out: everything that can be wrong is found first, then every run is launched."""

import itertools
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from resdepth import device as devices
from resdepth.data import sources
from resdepth.data.augment import draw_order
from resdepth.data.dataset import Dataset, Split
from resdepth.data.device_data import reside
from resdepth.data.seeding import generator
from resdepth.errors import ConfigError
from resdepth.host import cores
from resdepth.launch import launch
from resdepth.models.build import build
from resdepth.models.size import multiply_adds
from resdepth.progress import Observer
from resdepth.results import run_directory
from resdepth.results.outcome import Outcome
from resdepth.run import train_in_turns
from resdepth.sweep import Plan, PlannedRun, require_memory
from resdepth.training import engine
from resdepth.training.step import Step
from resdepth.workers import train_in_processes

# How long the estimate may measure.
_PROBE_SECONDS, _MOST_STEPS = 1.0, 30


# Runs at once on a GPU by default: what it gains by more is to be measured (resdepth bench --at-once).
_AT_ONCE_ON_A_GPU = 8


@dataclass(frozen=True)
class Group:
    """Runs that share one process, one device and one job of the launcher, so many of them at once.

    On a CPU several at once have a process and one thread each.
    """

    runs: tuple[PlannedRun, ...]
    at_once: int

    @property
    def in_processes(self) -> bool:
        return self.at_once > 1 and devices.resolve(self.runs[0].config.device).type == "cpu"


@dataclass(frozen=True)
class _Work:
    """Job i trains group i. Picklable where the observer is."""

    groups: tuple[Group, ...]
    observer: Callable[[], Observer]

    def __call__(self, job: int) -> list[Outcome]:
        group = self.groups[job]
        train = train_in_processes if group.in_processes else train_in_turns
        return train(group.runs, group.at_once, self.observer())


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
        if planned.state == run_directory.RESTARTED:
            run_directory.set_aside(planned.directory)
    results = plan.pending[0].directory.parents[1]
    groups = make_groups(plan)
    found = launch(_Work(groups, observer), len(groups), plan.hydra_overrides, results, config_dir)
    pairs = zip((run for group in groups for run in group.runs), (o for part in found for o in part), strict=True)
    outcomes = {run.directory: outcome for run, outcome in pairs}
    return [outcomes[run.directory] for run in plan.pending]


def make_groups(plan: Plan) -> tuple[Group, ...]:
    """The pending runs, by device and precision. Here these are one group; another launcher gets a job for every few.

    Precision is a setting of the whole process, so that runs of two cannot take turns.

    How many train at once follows from the whole plan, finished runs included: a continued sweep computes with the same
    number of threads as before, and so the same numbers.
    """
    groups = []
    for key in dict.fromkeys(map(_shared, plan.pending)):
        whole = [run for run in plan.runs if _shared(run) == key]
        pending = [run for run in plan.pending if _shared(run) == key]
        at_once = _runs_at_once(whole, leaves_process=plan.leaves_process)
        size = at_once if plan.leaves_process else len(pending)
        groups += [Group(tuple(pending[i : i + size]), at_once) for i in range(0, len(pending), size)]
    return tuple(groups)


def _shared(run: PlannedRun) -> tuple[str, str, str]:
    return run.config.device, run.config.precision, run.config.runs_per_job


def _runs_at_once(runs: Sequence[PlannedRun], *, leaves_process: bool) -> int:
    """`runs_per_job` of these runs of one device; `auto` is as many as it gains by and has memory for."""
    asked = runs[0].config.runs_per_job
    if asked != "auto":
        return min(int(asked), len(runs))
    device = devices.resolve(runs[0].config.device)
    if leaves_process or device.type == "mps":
        return 1
    most = cores() if device.type == "cpu" else _AT_ONCE_ON_A_GPU
    # The largest together: they are trained first.
    needed = sorted((run.memory for run in runs), reverse=True)
    free = devices.free_memory(device)
    fitting = sum(total <= free for total in itertools.accumulate(needed))
    return max(1, min(most, len(runs), fitting))


def check(plan: Plan) -> None:
    """Load every data set, ask for every device and every directory. Raises ConfigError or DataError."""
    for planned in plan.pending:
        run_directory.refuse_locked(planned.directory, planned.config)
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
        with devices.threads(1 if group.in_processes else None):
            try:
                seconds = [_run_seconds(planned, cache) for planned in group.runs]
            except Exception:  # torch raises many kinds; whatever it is, the run itself will say so
                return None
        total += max(sum(seconds) / group.at_once, *seconds) if group.in_processes else sum(seconds)
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
    data = reside(Dataset(split, split, shape.classes), config.recipe.normalise, config.recipe.pad, device)
    net = build(8, config.variant, config.model, shape.channels, shape.classes, source)
    net = net.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    step = Step(net, data, config.recipe, config.precision, (1, batch))
    order = draw_order(0, 1, batch, batch, 1, config.recipe.pad, config.recipe.flip)
    times: list[float] = []
    while len(times) < 2 or (sum(times) < _PROBE_SECONDS and len(times) < _MOST_STEPS):
        started = time.perf_counter()
        step.begin_epoch(order, [config.recipe.lr])
        step()
        step.totals()  # waits for the device
        times.append(time.perf_counter() - started)
    return min(times[1:])
