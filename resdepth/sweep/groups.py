"""Which runs share a process, and how many of them train at once."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from resdepth import device as devices
from resdepth.host import cores
from resdepth.sweep.plan import Plan, PlannedRun

_GPU_CONCURRENCY = 8  # runs at once; more may gain more (resdepth bench --at-once measures it)


@dataclass(frozen=True)
class Group:
    """Runs that share one process, one device and one job of the launcher, `concurrency` of them at once."""

    runs: tuple[PlannedRun, ...]
    concurrency: int

    @property
    def uses_processes(self) -> bool:
        """Whether each run has a process of its own with one thread, as several at once on a CPU have."""
        return self.concurrency > 1 and devices.resolve(self.runs[0].config.device).type == "cpu"


def make_groups(plan: Plan) -> tuple[Group, ...]:
    """Group the pending runs by device and precision; another launcher gets a job for every `concurrency` of them.

    Precision is a setting of the whole process. The concurrency follows from the whole plan, finished runs included: a
    continued sweep computes with the same number of threads as before, and so the same numbers.
    """
    groups = []
    for key in dict.fromkeys(map(_shared_settings, plan.pending)):
        runs = [run for run in plan.runs if _shared_settings(run) == key]
        pending = [run for run in plan.pending if _shared_settings(run) == key]
        concurrency = _concurrency(runs, uses_external_launcher=plan.uses_external_launcher)
        size = concurrency if plan.uses_external_launcher else len(pending)
        groups += [Group(tuple(pending[i : i + size]), concurrency) for i in range(0, len(pending), size)]
    return tuple(groups)


def _shared_settings(run: PlannedRun) -> tuple[str, str, str]:
    return run.config.device, run.config.precision, run.config.runs_per_job


def _concurrency(runs: Sequence[PlannedRun], *, uses_external_launcher: bool) -> int:
    """Return `runs_per_job` of these runs of one device; `auto` is as many as help and fit into memory."""
    requested = runs[0].config.runs_per_job
    if requested != "auto":
        return min(int(requested), len(runs))
    if uses_external_launcher:
        return 1
    device = devices.resolve(runs[0].config.device)
    most = {"cpu": cores(), "cuda": _GPU_CONCURRENCY}.get(device.type, 1)
    # The largest runs are trained first, so they must fit together.
    needed = itertools.accumulate(sorted((run.estimated_memory_bytes for run in runs), reverse=True))
    free = devices.free_memory(device)
    return max(1, min(most, len(runs), sum(total <= free for total in needed)))
