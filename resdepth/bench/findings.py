"""Benchmark results as text: one line per measurement, and comparisons between them. Needs no torch."""

import math
from collections.abc import Sequence

from resdepth.bench.rows import BASELINE, BusyCost, ScaleCost, StepCost, SweepTime
from resdepth.report.comparison import count


def line(cost: StepCost) -> str:
    """Return one line for a measured step: time, images per second, peak memory, ratio to the floor."""
    what = _describe(cost) + (f", {cost.at_once} at once" if cost.at_once > 1 else "")
    if cost.note:
        return f"{what}: {cost.note}"
    spread = f"{_format_ms(cost.step_ms)} ms a step ({_format_ms(cost.step_ms_low)} to {_format_ms(cost.step_ms_high)})"
    floor = f"{cost.ratio_to_floor:.1f} times the floor"
    return f"{what}: {spread}, {cost.images_per_second:,.0f} images/s, {cost.peak_memory_mib:,.0f} MiB, {floor}"


def _describe(cost: StepCost) -> str:
    recomputed = ", gradient checkpointing" if cost.gradient_checkpointing else ""
    options = f", {cost.options}" if cost.options else ""
    return f"{cost.variant}-{cost.depth}, {cost.engine}, {cost.precision}{recomputed}{options}"


def _format_ms(value: float) -> str:
    """Format milliseconds with three significant digits, or all digits of the integer part."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def sweep_line(row: SweepTime) -> str:
    """Return one line for a timed sweep: wall time and its ratio to the plain loop."""
    share = "" if row.ratio == 1 else f", {row.ratio:.2f} of the plain loop's time"
    return f"{row.way}: {row.seconds:.1f} s{share}"


def busy_line(pinned: BusyCost, unpinned: BusyCost) -> str:
    """Return one line for a step beside a busy process: its times idle and busy, and torch's own without pinning."""
    busy = f"{_format_ms(pinned.idle_ms)} ms a step, {pinned.ratio:.1f} times that beside a busy process"
    other = f"without pinned threads {_format_ms(unpinned.idle_ms)} ms and {unpinned.ratio:.1f} times that"
    return f"{pinned.data}, {pinned.variant}-{pinned.depth}, {pinned.threads} threads: {busy}; {other}"


def scale_line(cost: ScaleCost) -> str:
    """Return one line for a command of a sweep of many runs: time, memory, files, and calls a run that concern them."""
    jobs = f", {count(cost.jobs, 'job')} in the queue" if cost.jobs else ""
    calls = "" if math.isnan(cost.operations) else f", {cost.operations:.1f} calls a run to the file system"
    what = f"{cost.runs:,} runs, {cost.step}: {cost.seconds:.1f} s, {cost.memory_mib:,.0f} MiB"
    return f"{what}, {cost.files:,} files{jobs}{calls}"


def findings(costs: Sequence[StepCost]) -> list[str]:
    """Compare each net's step with the usual loop's, concurrent runs with a single one, and options, one line each."""
    lines = []
    costs = [cost for cost in costs if not cost.note]
    for cost in costs:
        same_net = [c for c in costs if _net(c) == _net(cost)]
        name = _describe(cost)
        for baseline in (c for c in same_net if c.engine == BASELINE and cost.engine != BASELINE and cost.at_once == 1):
            share = f"{cost.step_ms / baseline.step_ms:.2f} of the usual loop's step ({baseline.precision})"
            lines.append(f"{name}: {share}, {cost.ratio_to_floor:.1f} times the floor")
        same = [c for c in same_net if _describe(c) == name and c.at_once == 1]
        if cost.at_once > 1 and same:
            gain = cost.images_per_second / same[0].images_per_second
            lines.append(f"{name}: {cost.at_once} at once train {gain:.2f} times as many images a second as one")
        for other in (c for c in same_net if cost.options and not c.options and _execution(c) == _execution(cost)):
            together = f", {cost.at_once} at once" if cost.at_once > 1 else ""
            lines.append(f"{name}{together}: {cost.step_ms / other.step_ms:.2f} of the step without {cost.options}")
    return lines


def _net(cost: StepCost) -> tuple[object, ...]:
    return cost.variant, cost.depth, cost.data, cost.batch


def _execution(cost: StepCost) -> tuple[object, ...]:
    return cost.engine, cost.precision, cost.gradient_checkpointing, cost.at_once
