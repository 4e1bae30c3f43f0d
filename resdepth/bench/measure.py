"""What a training step costs: time, memory, and the ratio to the floors of the device."""

import ctypes
import gc
import math
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import torch

from resdepth import device as devices
from resdepth.bench.baseline import baseline_step_seconds, median_and_spread, precision_name
from resdepth.bench.floors import floors
from resdepth.bench.rows import BASELINE, StepCost
from resdepth.data.augment import draw_order
from resdepth.data.dataset import Dataset, Split
from resdepth.data.device_data import to_device
from resdepth.data.seeding import generator
from resdepth.sweep import processes
from resdepth.sweep.plan import PlannedRun
from resdepth.training import engine
from resdepth.training.trainer import Trainer

# A window is timed as a whole, so that waiting for its end does not count at every step.
_STEPS_IN_WINDOW = {"cpu": 1, "mps": 10, "cuda": 20}
_WINDOWS, _WARM_UP, _SECONDS = 20, 3, 20.0


def engines(config_engine: str, device: torch.device) -> tuple[str, ...]:
    """What `engine=auto` has measured: all that the device has."""
    if config_engine != "auto":
        return (config_engine,)
    return ("eager", "graph", "compiled") if device.type == "cuda" else ("eager",)


def measure(runs: Sequence[PlannedRun], at_once: Sequence[int], *, baseline: bool) -> Iterator[StepCost]:
    """The cost of a step of each run, on each engine, so many at once; and of the usual loop beside it."""
    for run in runs:
        device = devices.resolve(run.config.device)
        for name in engines(run.config.engine, device):
            for count in at_once:
                yield _cost(replace(run, config=replace(run.config, engine=name)), count, device)
        if baseline:
            yield _baseline_cost(run, device)


def _cost(run: PlannedRun, count: int, device: torch.device) -> StepCost:
    engine.choose(run.config.engine, device)
    try:
        if device.type == "cpu" and count > 1:
            with ProcessPoolExecutor(count, mp_context=processes.context()) as pool:
                parts = list(pool.map(_time_alone, [run] * count))
            times = [sum(each) / count / count for each in zip(*(p[0] for p in parts), strict=False)]
            memory, first = sum(p[1] for p in parts), max(p[2] for p in parts)
        else:
            times, memory, first = _time(run, count, device)
    except (RuntimeError, MemoryError) as error:  # out of memory, mostly; the other points are still to be had
        return _row(run, run.config.engine, run.config.precision, count, device, note=str(error).splitlines()[0][:200])
    return _row(run, run.config.engine, run.config.precision, count, device, times, memory, first)


def _baseline_cost(run: PlannedRun, device: torch.device) -> StepCost:
    steps = _WINDOWS if device.type == "cpu" else 5 * _WINDOWS
    started = time.perf_counter()
    with PeakMemory(device) as memory:
        times = baseline_step_seconds(run, _random_split(run, 50 * run.schedule.batch_size), device, _WARM_UP, steps)
    first = time.perf_counter() - started - sum(times)
    return _row(run, BASELINE, precision_name(device), 1, device, times, memory.bytes, first)


def _time_alone(run: PlannedRun) -> tuple[list[float], float, float]:
    """In a process of its own with one thread, as `runs_per_job` has it."""
    torch.set_num_threads(1)
    return _time(run, 1, torch.device("cpu"))


def _time(run: PlannedRun, count: int, device: torch.device) -> tuple[list[float], float, float]:
    """Seconds a step and run, window by window; peak memory, bytes; seconds to the end of the first step."""
    config, window = run.config, _STEPS_IN_WINDOW[device.type]
    devices.set_precision(config.precision, device)
    images, batch = window * run.schedule.batch_size, run.schedule.batch_size
    split = _random_split(run, images)
    data = to_device(Dataset(split, split, run.shape.classes), config.recipe.normalise, config.recipe.pad, device)
    order = draw_order(0, 1, images, batch, window, config.recipe.pad, config.recipe.flip)
    with PeakMemory(device) as memory:
        started = time.perf_counter()
        trainers = [Trainer(config, data) for _ in range(count)]
        for trainer in trainers:
            trainer.step.begin_epoch(order, [config.recipe.lr] * window)
            trainer.step()
        devices.synchronise(device)
        first = time.perf_counter() - started
        times: list[float] = []
        while len(times) < _WARM_UP + _WINDOWS and (len(times) < _WARM_UP + 2 or sum(times) * window < _SECONDS):
            for trainer in trainers:
                trainer.step.begin_epoch(order, [config.recipe.lr] * window)
            devices.synchronise(device)
            started = time.perf_counter()
            _feed(trainers, window)
            devices.synchronise(device)
            times.append((time.perf_counter() - started) / window / count)
    return times[_WARM_UP:], memory.bytes, first


def _feed(trainers: Sequence[Trainer], steps: int) -> None:
    """So many steps of each, whichever is free."""
    left = [steps] * len(trainers)
    while any(left):
        for i, trainer in enumerate(trainers):
            if left[i] and trainer.step.can_submit:
                trainer.step()
                left[i] -= 1


def _random_split(run: PlannedRun, images: int) -> Split:
    """Random images: on zeros a device would draw less power and run faster."""
    s, source = run.shape, generator(0, 0)
    pixels = torch.randint(0, 256, (images, s.channels, s.height, s.width), dtype=torch.uint8, generator=source)
    return Split(pixels.numpy(), torch.randint(0, s.classes, (images,), generator=source).numpy())


def _row(
    run: PlannedRun,
    engine_name: str,
    precision: str,
    count: int,
    device: torch.device,
    times: Sequence[float] = (),
    memory: float = math.nan,
    first: float = math.nan,
    note: str = "",
) -> StepCost:
    median, low, high = median_and_spread(times) if times else (math.nan, math.nan, math.nan)
    bytes_floor, operations_floor = floors(replace(run, config=replace(run.config, precision=precision)), device)
    alone = device.type != "cpu" or count == 1
    return StepCost(
        device=devices.device_name(device),
        data=run.config.data.name,
        variant=run.config.variant,
        depth=run.config.depth,
        engine=engine_name,
        precision=precision,
        gradient_checkpointing=run.config.gradient_checkpointing,
        at_once=count,
        threads=torch.get_num_threads() if alone else 1,
        batch=run.schedule.batch_size,
        steps=len(times) * _STEPS_IN_WINDOW[device.type] if engine_name != BASELINE else len(times),
        step_ms=1e3 * median,
        step_ms_low=1e3 * low,
        step_ms_high=1e3 * high,
        images_per_second=run.schedule.batch_size / median,
        peak_memory_mib=memory / 2**20,
        first_step_seconds=first,
        bytes_floor_ms=1e3 * bytes_floor,
        operations_floor_ms=1e3 * operations_floor,
        note=note,
    )


class PeakMemory:
    """`bytes` that were taken on the device at most inside the `with` block, beyond those before; NaN if unknown."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.bytes = math.nan

    def __enter__(self) -> "PeakMemory":
        gc.collect()
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self._device)
            self._before = torch.cuda.memory_allocated(self._device)
        elif sys.platform == "linux":
            # Freed memory goes back to the system, and the kernel begins a new peak.
            ctypes.CDLL(None).malloc_trim(0)
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
            self._before = _resident_bytes("VmRSS")
        return self

    def __exit__(self, *_: object) -> None:
        if self._device.type == "cuda":
            self.bytes = torch.cuda.max_memory_allocated(self._device) - self._before
        elif sys.platform == "linux":
            self.bytes = _resident_bytes("VmHWM") - self._before


def _resident_bytes(kind: str) -> int:
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines())
    return int(lines[kind].split()[0]) * 1024
