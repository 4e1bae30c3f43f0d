"""Which runs share a process, how many of them train at once, and which make up a job of a cluster."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from resdepth import device as devices
from resdepth.host import cores
from resdepth.results.run_directory import RunState
from resdepth.sweep.plan import Plan, PlannedRun, longest_first

_GPU_CONCURRENCY = 8  # runs at once; more may gain more (resdepth bench --at-once measures it)
# A job of a cluster takes a minute to be scheduled and to load torch. Short runs share one, up to so many, until they
# have this many steps times layers together: some minutes on a GPU, at some 0.1 ms for a step of a layer.
_JOB_LAYER_STEPS, _MOST_RUNS_PER_JOB = 2_000_000, 32


@dataclass(frozen=True)
class Group:
    """Runs that share one process and one device, `concurrency` of them at once.

    `wanted`: runs at once if memory allowed; `fitting`: how many are expected to fit into the device's free memory.
    `parts`: where there are several devices, the runs of each, with a process of its own.
    """

    runs: tuple[PlannedRun, ...]
    concurrency: int
    wanted: int
    fitting: int
    parts: "tuple[Group, ...]" = ()

    @property
    def uses_processes(self) -> bool:
        """Whether each run, or each of several devices, has a process of its own, as several at once on a CPU have."""
        return bool(self.parts) or (self.concurrency > 1 and self._is_on_cpu)

    @property
    def threads(self) -> int | None:
        """CPU threads of each process: `threads`; `auto` is one beside other runs, else torch's own number (None)."""
        return self.runs[0].config.thread_count or (1 if self.uses_processes else None)

    @property
    def pins_threads(self) -> bool:
        """Whether they may be pinned to cores: processes that compile, and a GPU's threads, would inherit one core."""
        return self._is_on_cpu and not any(run.config.engine == "compiled" for run in self.runs)

    @property
    def _is_on_cpu(self) -> bool:
        return devices.resolve(self.runs[0].config.device).type == "cpu"


def make_groups(runs: Sequence[PlannedRun], pending: Sequence[PlannedRun]) -> tuple[Group, ...]:
    """Group the pending ones of these runs by device, precision and threads, for this machine.

    Precision and threads are settings of the whole process. The concurrency follows from all runs, finished ones
    included: a continued sweep computes with the same number of threads as before, and so the same numbers.
    """
    groups = []
    for key in dict.fromkeys(map(_shared_settings, pending)):
        together = [run for run in runs if _shared_settings(run) == key]
        names = devices.every(together[0].config.device)
        wanted = _wanted_concurrency(together, len(names))
        own = [run for run in pending if _shared_settings(run) == key]
        parts = _spread(own, names) if len(names) > 1 else []
        if len(parts) > 1:
            groups.append(_join(own, tuple(_group(part, part, min(wanted, len(part))) for part in parts)))
        else:
            groups.append(_group(own, together, wanted))
    return tuple(groups)


def make_jobs(plan: Plan) -> tuple[tuple[PlannedRun, ...], ...]:
    """Divide the runs among the jobs of an external launcher, longest first; jobs without a pending run are left out.

    A job holds `runs_per_job` runs, finished ones included, so that they stay together when a sweep is continued. With
    `auto` it is one run, and on Slurm as many short ones as make a job of some minutes.
    """
    jobs: list[tuple[PlannedRun, ...]] = []
    for key in dict.fromkeys(map(_shared_settings, plan.pending)):
        runs = [run for run in plan.runs if _shared_settings(run) == key]
        ordered = [runs[i] for i in longest_first(runs)]
        jobs += _chunks(ordered, shares_jobs=plan.launcher.is_slurm)
    return tuple(job for job in jobs if any(run.state is not RunState.FINISHED for run in job))


def _chunks(runs: Sequence[PlannedRun], *, shares_jobs: bool) -> Iterator[tuple[PlannedRun, ...]]:
    """Yield the runs of each job in turn."""
    requested = runs[0].config.runs_per_job
    most = int(requested) if requested != "auto" else _MOST_RUNS_PER_JOB if shares_jobs else 1
    job: list[PlannedRun] = []
    for run in runs:
        is_long = requested == "auto" and sum(map(_layer_steps, [*job, run])) > _JOB_LAYER_STEPS
        if job and (len(job) == most or is_long):
            yield tuple(job)
            job = []
        job.append(run)
    yield tuple(job)


def _layer_steps(run: PlannedRun) -> int:
    """Return the steps of a run times its layers, to which its time on a GPU is roughly proportional."""
    return run.schedule.iterations * run.config.depth


def _shared_settings(run: PlannedRun) -> tuple[str, str, str, str]:
    return run.config.device, run.config.precision, run.config.runs_per_job, run.config.threads


def _group(runs: Sequence[PlannedRun], together: Sequence[PlannedRun], wanted: int) -> Group:
    """Group runs of one device; `together` are those that say how many fit."""
    fitting = _fitting(together, wanted)
    concurrency = fitting if runs[0].config.runs_per_job == "auto" else wanted
    return Group(tuple(runs), concurrency, wanted, fitting)


def _join(runs: Sequence[PlannedRun], parts: tuple[Group, ...]) -> Group:
    """Join the groups of several devices to one, in which each has a process of its own."""
    concurrency, wanted = sum(part.concurrency for part in parts), sum(part.wanted for part in parts)
    return Group(tuple(runs), concurrency, wanted, sum(part.fitting for part in parts), parts)


def _spread(runs: Sequence[PlannedRun], names: Sequence[str]) -> list[list[PlannedRun]]:
    """Divide runs among several devices, the longest first, each to that with the least work; set their `device`."""
    parts: list[list[PlannedRun]] = [[] for _ in names]
    work = [0 for _ in names]
    for number in longest_first(runs):
        run, least = runs[number], work.index(min(work))
        work[least] += run.total_multiply_adds
        parts[least].append(replace(run, config=replace(run.config, device=names[least])))
    return [part for part in parts if part]


def _wanted_concurrency(runs: Sequence[PlannedRun], device_count: int) -> int:
    """Return `runs_per_job` of these runs of one kind of device; `auto` is as many as help."""
    requested, most = runs[0].config.runs_per_job, -(-len(runs) // device_count)
    if requested != "auto":
        return min(int(requested), most)
    device = devices.resolve(runs[0].config.device)
    on_cpu = cores() // (runs[0].config.thread_count or 1)
    return max(1, min({"cpu": on_cpu, "cuda": _GPU_CONCURRENCY}.get(device.type, 1), most))


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
