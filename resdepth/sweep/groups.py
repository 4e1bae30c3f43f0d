"""Which runs share a process."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from resdepth import device as devices
from resdepth.host import cores
from resdepth.sweep.plan import Plan, PlannedRun

# Runs at once on a GPU by default: what it gains by more is to be measured (resdepth bench --at-once).
_GPU_CONCURRENCY = 8


@dataclass(frozen=True)
class Group:
    """Runs that share one process, one device and one job of the launcher, so many of them at once.

    On a CPU several at once have a process and one thread each.
    """

    runs: tuple[PlannedRun, ...]
    concurrency: int

    @property
    def uses_processes(self) -> bool:
        return self.concurrency > 1 and devices.resolve(self.runs[0].config.device).type == "cpu"


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
        concurrency = _concurrency(whole, uses_external_launcher=plan.uses_external_launcher)
        size = concurrency if plan.uses_external_launcher else len(pending)
        groups += [Group(tuple(pending[i : i + size]), concurrency) for i in range(0, len(pending), size)]
    return tuple(groups)


def _shared(run: PlannedRun) -> tuple[str, str, str]:
    return run.config.device, run.config.precision, run.config.runs_per_job


def _concurrency(runs: Sequence[PlannedRun], *, uses_external_launcher: bool) -> int:
    """`runs_per_job` of these runs of one device; `auto` is as many as it gains by and has memory for."""
    asked = runs[0].config.runs_per_job
    if asked != "auto":
        return min(int(asked), len(runs))
    device = devices.resolve(runs[0].config.device)
    if uses_external_launcher or device.type == "mps":
        return 1
    most = cores() if device.type == "cpu" else _GPU_CONCURRENCY
    # The largest together: they are trained first.
    needed = sorted((run.estimated_memory_bytes for run in runs), reverse=True)
    free = devices.free_memory(device)
    fitting = sum(total <= free for total in itertools.accumulate(needed))
    return max(1, min(most, len(runs), fitting))
