"""Time and peak memory of a training step, beside the baseline's and the floors of the device."""

import itertools
import math
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch

from resdepth import device as devices
from resdepth.bench.rows import BASELINE, StepCost
from resdepth.bench.steps.baseline import baseline_precision, baseline_step_seconds
from resdepth.bench.steps.floors import floors
from resdepth.bench.steps.memory import PeakMemory
from resdepth.config.schema import RunConfig
from resdepth.data.synthetic import random_dataset
from resdepth.errors import trace
from resdepth.sweep import processes
from resdepth.sweep.plan import RunSpec
from resdepth.sweep.preflight import timed_trainers, timing_data
from resdepth.training.engine import choose, choose_memory_format
from resdepth.training.timing import begin_epoch, window_steps, windows

# What a measurement takes: windows of steps, and their wall time at most.
_WINDOWS, _WARM_UP, _WINDOW_SECONDS, _MAX_SECONDS = 20, 3, 0.5, 20.0
# What a point needs at least, and what it may take to compile a net's blocks, once.
_LEAST_SECONDS, _COMPILE_SECONDS = 2.0, 60.0
# Order of measurement, by engine (`main`: that of a sweep) and number of runs at once. What is not in it comes last.
_ORDER = ("main, least", BASELINE, "main, most", "compiled, least", "compiled, most", "switch", "other, least", "rest")
# Keys without effect on the usual loop: nets that differ only in these share one measurement.
_IGNORED_BY_BASELINE: dict[str, Any] = {
    "engine": "auto",
    "memory_format": "auto",
    "native_batch_norm": False,
    "gradient_checkpointing": False,
}


@dataclass(frozen=True)
class Point:
    """What is measured: a step of this run on its engine, `count` runs at once; or a step of the baseline."""

    spec: RunSpec
    count: int
    rank: int
    is_baseline: bool = False


class _Timing(NamedTuple):
    """Seconds per step and run, window by window; peak memory, bytes; seconds to the end of the first step."""

    seconds: Sequence[float] = ()
    window: int = 1  # steps
    peak_bytes: float = math.nan
    first_seconds: float = math.nan
    note: str = ""  # why there is no measurement


def make_points(specs: Sequence[RunSpec], at_once: Sequence[int], *, baseline: bool) -> list[Point]:
    """Return what is to be measured of each run, in the order of the table.

    Where the engine is `auto`: every engine and, on CUDA, the other memory format and batch norm's other kernels.
    """
    found: list[Point] = []
    for spec in specs:
        config, device = spec.config, devices.resolve(spec.config.device)
        main = choose(config.engine, device)
        engines = [config.engine]
        if config.engine == "auto":
            engines = ["eager", "graph", "compiled"] if device.type == "cuda" else ["eager"]
        for engine, count in itertools.product(engines, at_once):
            rank = _rank(engine, main, count, at_once)
            found.append(Point(replace(spec, config=replace(config, engine=engine)), count, rank))
        if len(engines) > 1:
            for switched, counts in _switches(config, device, at_once):
                found += [
                    Point(replace(spec, config=replace(switched, engine=main)), n, _ORDER.index("switch"))
                    for n in counts
                ]
        usual = replace(spec, config=replace(config, precision=baseline_precision(device), **_IGNORED_BY_BASELINE))
        if baseline and not any(point.is_baseline and point.spec == usual for point in found):
            found.append(Point(usual, 1, _ORDER.index(BASELINE), is_baseline=True))
    return found


def _rank(engine: str, main: str, count: int, at_once: Sequence[int]) -> int:
    role = "main" if engine == main else "compiled" if engine == "compiled" else "other"
    extent = "least" if count == min(at_once) else "most" if count == max(at_once) else "between"
    kind = f"{role}, {extent}"
    return _ORDER.index(kind if kind in _ORDER else "rest")


def _switches(config: RunConfig, device: torch.device, at_once: Sequence[int]) -> Iterator[tuple[RunConfig, list[int]]]:
    """Yield the settings of the graph engine that only a measurement can choose, and how many runs at once tell it."""
    if config.memory_format == "auto":
        chosen = choose_memory_format("auto", config.precision, device)
        other = "contiguous" if chosen is torch.channels_last else "channels_last"
        yield replace(config, memory_format=other), [min(at_once)]
    if not config.native_batch_norm and config.precision != "bf16":
        yield replace(config, native_batch_norm=True), sorted({min(at_once), max(at_once)})


def measure(points: Sequence[Point], minutes: float | None = None) -> Iterator[tuple[int, StepCost]]:
    """Yield the number of each point and the cost of its step, the most informative first.

    After `minutes` no measurement is started; the cost of a point that is left out says so.
    """
    end = time.perf_counter() + (math.inf if minutes is None else 60 * minutes)
    compiled: set[tuple[object, ...]] = set()
    for done, number in enumerate(sorted(range(len(points)), key=lambda number: points[number].rank)):
        point, config = points[number], points[number].spec.config
        kind = (config.variant, config.precision, config.model.width)
        is_compiling = config.engine == "compiled" and not config.gradient_checkpointing and kind not in compiled
        left = end - time.perf_counter() - (_COMPILE_SECONDS if is_compiling else 0.0)
        if done and left < _LEAST_SECONDS:
            yield number, _row(point, _Timing(note=f"left out: too little of the {minutes:g} minutes is left"))
            continue
        timing = _time_point(point, min(_MAX_SECONDS, max(left, 0.0)))
        if is_compiling:
            compiled.add(kind)
        yield number, _row(point, timing)


def _time_point(point: Point, most_seconds: float) -> _Timing:
    spec, count, device = point.spec, point.count, devices.resolve(point.spec.config.device)
    try:
        if point.is_baseline:
            return _time_baseline(spec, device, most_seconds)
        if device.type == "cpu" and count > 1:
            # A process with one thread for each run, as `runs_per_job` executes them.
            with ProcessPoolExecutor(count, processes.context(), torch.set_num_threads, (1,)) as pool:
                parts = list(pool.map(_time, [spec] * count, [1] * count, [device] * count, [most_seconds] * count))
            seconds = [sum(each) / count / count for each in zip(*(part.seconds for part in parts), strict=False)]
            return _Timing(seconds, 1, sum(p.peak_bytes for p in parts), max(p.first_seconds for p in parts))
        is_pinned = device.type == "cpu" and spec.config.engine != "compiled"
        with devices.threads(spec.config.thread_count, pinned=is_pinned):
            return _time(spec, count, device, most_seconds)
    except (RuntimeError, MemoryError) as error:  # mostly out of memory; the other points can still be measured
        trace()
        return _Timing(note=(str(error).splitlines() or [type(error).__name__])[0][:200])


def _time_baseline(spec: RunSpec, device: torch.device, most_seconds: float) -> _Timing:
    steps, images = _WINDOWS if device.type == "cpu" else 5 * _WINDOWS, 50 * spec.schedule.batch_size
    started = time.perf_counter()
    with PeakMemory(device) as memory:
        split = random_dataset(spec.shape, images).train
        seconds = baseline_step_seconds(spec, split, device, _WARM_UP, steps, most_seconds)
    return _Timing(seconds, 1, memory.bytes, time.perf_counter() - started - sum(seconds))


def _time(spec: RunSpec, count: int, device: torch.device, most_seconds: float) -> _Timing:
    devices.set_precision(spec.config.precision, device)
    data, window, started = timing_data(spec, device), window_steps(device.type), time.perf_counter()
    with PeakMemory(device) as memory, timed_trainers(spec, count, data) as trainers:
        begin_epoch(trainers)
        for trainer in trainers:
            trainer.step()
        devices.synchronise(device)
        first, started = time.perf_counter() - started, time.perf_counter()
        one_round = next(windows(trainers, 1)) * count
        window = max(1, min(window, int(_WINDOW_SECONDS / one_round)))
        times: list[float] = []
        for seconds in windows(trainers, window):
            times.append(seconds)
            if len(times) == _WARM_UP + _WINDOWS or (len(times) > 1 and time.perf_counter() - started >= most_seconds):
                break
    return _Timing(times[min(_WARM_UP, len(times) - 1) :], window, memory.bytes, first)


def _row(point: Point, timing: _Timing) -> StepCost:
    spec, config, device = point.spec, point.spec.config, devices.resolve(point.spec.config.device)
    low, median, high = np.percentile(timing.seconds or [math.nan], [10, 50, 90]).tolist()
    bytes_floor, operations_floor = floors(spec, device) if timing.seconds else (math.nan, math.nan)
    return StepCost(
        device=devices.device_name(device),
        data=config.data.name,
        variant=config.variant,
        depth=config.depth,
        engine=BASELINE if point.is_baseline else config.engine,
        precision=config.precision,
        gradient_checkpointing=config.gradient_checkpointing,
        at_once=point.count,
        threads=torch.get_num_threads() if device.type != "cpu" or point.count == 1 else 1,
        batch=spec.schedule.batch_size,
        steps=len(timing.seconds) * timing.window,
        step_ms=1e3 * median,
        step_ms_low=1e3 * low,
        step_ms_high=1e3 * high,
        images_per_second=spec.schedule.batch_size / median,
        peak_memory_mib=timing.peak_bytes / 2**20,
        first_step_seconds=timing.first_seconds,
        bytes_floor_ms=1e3 * bytes_floor,
        operations_floor_ms=1e3 * operations_floor,
        note=timing.note,
        options="" if point.is_baseline else _options(config),
    )


def _options(config: RunConfig) -> str:
    memory_format = "" if config.memory_format == "auto" else f"memory_format={config.memory_format}"
    return " ".join(filter(None, (memory_format, "native_batch_norm=true" if config.native_batch_norm else "")))
