"""What a bench shows: a table while it runs, its findings in words, and the figure. Reads bench.csv; no torch."""

from collections.abc import Sequence

from resdepth.bench.rows import BASELINE, StepCost, SweepTime


def line(cost: StepCost) -> str:
    """A measurement in one line."""
    what = _what(cost) + (f", {cost.at_once} at once" if cost.at_once > 1 else "")
    if cost.note:
        return f"{what}: {cost.note}"
    spread = f"{_ms(cost.step_ms)} ms a step ({_ms(cost.step_ms_low)} to {_ms(cost.step_ms_high)})"
    floor = f"{cost.ratio_to_floor:.1f} times the floor"
    return f"{what}: {spread}, {cost.images_per_second:,.0f} images/s, {cost.peak_memory_mib:,.0f} MiB, {floor}"


def _what(cost: StepCost) -> str:
    recomputed = ", gradient checkpointing" if cost.gradient_checkpointing else ""
    return f"{cost.variant}-{cost.depth}, {cost.engine}, {cost.precision}{recomputed}"


def _ms(value: float) -> str:
    """Three digits, or all before the point."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def sweep_line(row: SweepTime) -> str:
    """A timed sweep in one line."""
    share = "" if row.ratio == 1 else f", {row.ratio:.2f} of the plain loop's time"
    return f"{row.way}: {row.seconds:.1f} s{share}"


def findings(costs: Sequence[StepCost]) -> list[str]:
    """Each net's step beside the usual loop's, and what several at once gain."""
    lines = []
    for cost in costs:
        beside = [c for c in costs if (c.variant, c.depth, c.data) == (cost.variant, cost.depth, cost.data)]
        name = _what(cost)
        for baseline in (c for c in beside if c.engine == BASELINE and cost.engine != BASELINE and cost.at_once == 1):
            share = f"{cost.step_ms / baseline.step_ms:.2f} of the usual loop's step ({baseline.precision})"
            lines.append(f"{name}: {share}, {cost.ratio_to_floor:.1f} times the floor")
        same = [c for c in beside if _what(c) == name and c.at_once == 1]
        if cost.at_once > 1 and same:
            gain = cost.images_per_second / same[0].images_per_second
            lines.append(f"{name}: {cost.at_once} at once train {gain:.2f} times as many images a second as one")
    return lines
