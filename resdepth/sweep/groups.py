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
    """Runs that share one process, one device and one job of the launcher, `concurrency` of them at once.

    `wanted`: runs at once if memory allowed; `fitting`: how many are expected to fit into the device's free memory.
    """

    runs: tuple[PlannedRun, ...]
    concurrency: int
    wanted: int
    fitting: int

    @property
    def uses_processes(self) -> bool:
        """Whether each run has a process of its own, as several at once on a CPU have."""
        return self.concurrency > 1 and devices.resolve(self.runs[0].config.device).type == "cpu"

    @property
    def threads(self) -> int | None:
        """CPU threads of each process: `threads`; `auto` is one beside other runs, else torch's own number (None)."""
        return self.runs[0].config.thread_count or (1 if self.uses_processes else None)

    @property
    def pins_threads(self) -> bool:
        """Whether they may be pinned to cores: processes that compile, and a GPU's threads, would inherit one core."""
        on_cpu = devices.resolve(self.runs[0].config.device).type == "cpu"
        return on_cpu and not any(run.config.engine == "compiled" for run in self.runs)


def make_groups(plan: Plan) -> tuple[Group, ...]:
    """Group the pending runs by device, precision, threads; another launcher gets a job for each `concurrency` of them.

    Precision and threads are settings of the whole process. The concurrency follows from the whole plan, finished runs
    included: a continued sweep computes with the same number of threads as before, and so the same numbers.
    """
    groups = []
    for key in dict.fromkeys(map(_shared_settings, plan.pending)):
        runs = [run for run in plan.runs if _shared_settings(run) == key]
        pending = [run for run in plan.pending if _shared_settings(run) == key]
        wanted = _wanted_concurrency(runs, uses_external_launcher=plan.uses_external_launcher)
        # Another launcher's jobs have other devices.
        fitting = wanted if plan.uses_external_launcher else _fitting(runs, wanted)
        concurrency = fitting if runs[0].config.runs_per_job == "auto" else wanted
        size = concurrency if plan.uses_external_launcher else len(pending)
        parts = [tuple(pending[i : i + size]) for i in range(0, len(pending), size)]
        groups += [Group(part, concurrency, wanted, fitting) for part in parts]
    return tuple(groups)


def _shared_settings(run: PlannedRun) -> tuple[str, str, str, str]:
    return run.config.device, run.config.precision, run.config.runs_per_job, run.config.threads


def _wanted_concurrency(runs: Sequence[PlannedRun], *, uses_external_launcher: bool) -> int:
    """Return `runs_per_job` of these runs of one device; `auto` is as many as help."""
    requested = runs[0].config.runs_per_job
    if requested != "auto":
        return min(int(requested), len(runs))
    if uses_external_launcher:
        return 1
    device = devices.resolve(runs[0].config.device)
    on_cpu = cores() // (runs[0].config.thread_count or 1)
    return max(1, min({"cpu": on_cpu, "cuda": _GPU_CONCURRENCY}.get(device.type, 1), len(runs)))


def _fitting(runs: Sequence[PlannedRun], wanted: int) -> int:
    """Return how many runs, at least one and at most `wanted`, fit into the free memory of their device."""
    device = devices.resolve(runs[0].config.device)
    shared = max(run.process_memory_bytes for run in runs)
    # On a CPU each run has a process of its own.
    own, once = (shared, 0) if device.type == "cpu" else (0, shared)
    # The largest runs are trained first, so they must fit together.
    needed = itertools.accumulate(sorted((run.own_memory_bytes + own for run in runs), reverse=True))
    free = devices.free_memory(device) - once
    return max(1, min(wanted, sum(total <= free for total in needed)))
