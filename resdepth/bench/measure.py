"""Time and peak memory of a training step, beside the baseline's and the floors of the device."""

import ctypes
import gc
import itertools
import math
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from resdepth import device as devices
from resdepth.bench.baseline import baseline_precision, baseline_step_seconds
from resdepth.bench.floors import floors
from resdepth.bench.rows import BASELINE, StepCost
from resdepth.data.augment import draw_order
from resdepth.data.device_data import to_device
from resdepth.data.synthetic import random_dataset
from resdepth.sweep import processes
from resdepth.sweep.plan import RunSpec
from resdepth.training.trainer import Trainer

# A window is timed as a whole, so that the wait at its end does not count at every step.
_STEPS_PER_WINDOW = {"cpu": 1, "mps": 10, "cuda": 20}
_WINDOWS, _WARM_UP, _MAX_SECONDS = 20, 3, 20.0


class _Timing(NamedTuple):
    """Seconds per step and run, window by window; peak memory, bytes; seconds to the end of the first step."""

    seconds: Sequence[float] = ()
    peak_bytes: float = math.nan
    first_seconds: float = math.nan
    note: str = ""  # the error, where there was one


def measure(specs: Sequence[RunSpec], at_once: Sequence[int], *, baseline: bool) -> Iterator[StepCost]:
    """Yield the cost of a step of each run, on each engine (`auto`: all), so many runs at once, and the baseline's."""
    for spec in specs:
        device = devices.resolve(spec.config.device)
        available = ("eager", "graph", "compiled") if device.type == "cuda" else ("eager",)
        engines = available if spec.config.engine == "auto" else (spec.config.engine,)
        for engine, count in itertools.product(engines, at_once):
            yield _step_cost(replace(spec, config=replace(spec.config, engine=engine)), count, device)
        if baseline:
            yield _baseline_cost(spec, device)


def _step_cost(spec: RunSpec, count: int, device: torch.device) -> StepCost:
    try:
        if device.type == "cpu" and count > 1:
            # A process with one thread for each run, as `runs_per_job` executes them.
            with ProcessPoolExecutor(count, processes.context(), torch.set_num_threads, (1,)) as pool:
                parts = list(pool.map(_time, [spec] * count, [1] * count, [device] * count))
            seconds = [sum(each) / count / count for each in zip(*(part.seconds for part in parts), strict=False)]
            timing = _Timing(seconds, sum(p.peak_bytes for p in parts), max(p.first_seconds for p in parts))
        else:
            timing = _time(spec, count, device)
    except (RuntimeError, MemoryError) as error:  # mostly out of memory; the other points can still be measured
        timing = _Timing(note=str(error).splitlines()[0][:200])
    return _row(spec, count, device, timing)


def _baseline_cost(spec: RunSpec, device: torch.device) -> StepCost:
    steps, images = _WINDOWS if device.type == "cpu" else 5 * _WINDOWS, 50 * spec.schedule.batch_size
    started = time.perf_counter()
    with PeakMemory(device) as memory:
        seconds = baseline_step_seconds(spec, random_dataset(spec.shape, images).train, device, _WARM_UP, steps)
    timing = _Timing(seconds, memory.bytes, time.perf_counter() - started - sum(seconds))
    spec = replace(spec, config=replace(spec.config, precision=baseline_precision(device)))
    return replace(_row(spec, 1, device, timing), engine=BASELINE, steps=steps)


def _time(spec: RunSpec, count: int, device: torch.device) -> _Timing:
    config, recipe, window = spec.config, spec.config.recipe, _STEPS_PER_WINDOW[device.type]
    devices.set_precision(config.precision, device)
    images, batch = window * spec.schedule.batch_size, spec.schedule.batch_size
    data = to_device(random_dataset(spec.shape, images), recipe.normalise, recipe.pad, device)
    order, rates = draw_order(0, 1, images, batch, window, recipe.pad, recipe.flip), [recipe.lr] * window
    with PeakMemory(device) as memory:
        started = time.perf_counter()
        trainers = [Trainer(config, data) for _ in range(count)]
        for trainer in trainers:
            trainer.step.begin_epoch(order, rates)
            trainer.step()
        devices.synchronise(device)
        first = time.perf_counter() - started
        times: list[float] = []
        while len(times) < _WARM_UP + _WINDOWS and (len(times) < _WARM_UP + 2 or sum(times) * window < _MAX_SECONDS):
            for trainer in trainers:
                trainer.step.begin_epoch(order, rates)
            devices.synchronise(device)
            started = time.perf_counter()
            _submit(trainers, window)
            devices.synchronise(device)
            times.append((time.perf_counter() - started) / window / count)
    return _Timing(times[_WARM_UP:], memory.bytes, first)


def _submit(trainers: Sequence[Trainer], steps: int) -> None:
    """Submit so many steps of each trainer, in turn, to those that can take one."""
    left = [steps] * len(trainers)
    while any(left):
        for i, trainer in enumerate(trainers):
            if left[i] and trainer.step.can_submit:
                trainer.step()
                left[i] -= 1


def _row(spec: RunSpec, count: int, device: torch.device, timing: _Timing) -> StepCost:
    config = spec.config
    low, median, high = np.percentile(timing.seconds or [math.nan], [10, 50, 90]).tolist()
    bytes_floor, operations_floor = floors(spec, device)
    return StepCost(
        device=devices.device_name(device),
        data=config.data.name,
        variant=config.variant,
        depth=config.depth,
        engine=config.engine,
        precision=config.precision,
        gradient_checkpointing=config.gradient_checkpointing,
        at_once=count,
        threads=torch.get_num_threads() if device.type != "cpu" or count == 1 else 1,
        batch=spec.schedule.batch_size,
        steps=len(timing.seconds) * _STEPS_PER_WINDOW[device.type],
        step_ms=1e3 * median,
        step_ms_low=1e3 * low,
        step_ms_high=1e3 * high,
        images_per_second=spec.schedule.batch_size / median,
        peak_memory_mib=timing.peak_bytes / 2**20,
        first_step_seconds=timing.first_seconds,
        bytes_floor_ms=1e3 * bytes_floor,
        operations_floor_ms=1e3 * operations_floor,
        note=timing.note,
    )


class PeakMemory:
    """Measures the peak of memory on the device inside a `with` block, beyond that before: `bytes`, NaN if unknown."""

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
            # Return freed memory to the system, and have the kernel start a new peak.
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
