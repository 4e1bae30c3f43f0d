"""What is printed of a sweep before its runs: the plan, the state of each run, the estimate, the jobs of a cluster."""

import shlex
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from resdepth.cli.printing import console, duration, print_table
from resdepth.config.schema import USER_SOURCES
from resdepth.data.sources import load, missing_megabytes
from resdepth.report.comparison import count
from resdepth.results.run_directory import ASIDE, WEIGHTS, RunState
from resdepth.sweep.jobs.launch_folder import submitted
from resdepth.sweep.jobs.slurm import abbreviate, queue
from resdepth.variants import VARIANTS

if TYPE_CHECKING:
    from resdepth.sweep.groups import Group
    from resdepth.sweep.jobs.cluster import Submission
    from resdepth.sweep.plan import Plan, PlannedRun
    from resdepth.sweep.preflight import ReadySweep


def print_plan(plan: "Plan") -> None:
    """Print every run of the plan: directory, variant, depth, seed, parameters, minibatches, state."""
    columns: dict[str, Iterable[object]] = {
        "directory": [run.directory for run in plan.runs],
        "variant": [run.config.variant for run in plan.runs],
        "depth": [run.config.depth for run in plan.runs],
        "seed": [run.config.seed for run in plan.runs],
        "parameters": [f"{run.parameters:,}" for run in plan.runs],
        "iterations": [f"{run.schedule.iterations:,}" for run in plan.runs],
        "state": [run.state for run in plan.runs],
    }
    print_table(columns)
    runs = count(len(plan.runs), "run")
    console().print(f"{runs}, {len(plan.pending)} to train. Nothing was trained.{_format_repeated(plan)}")
    _print_unused_variants(plan)


def print_missing_data(plan: "Plan") -> None:
    """Print which data sets of the pending runs are not on this machine, and what the sweep does about it."""
    for data in dict.fromkeys(run.config.data for run in plan.pending):
        if (megabytes := missing_megabytes(data)) is not None:
            remedy = f"the sweep downloads it first ({megabytes} MB)"
            if not data.download:
                remedy = "data.download=false, so the sweep will fail: set data.root=FOLDER that holds it"
            console().print(f"data={data.source} is not in {data.root}; {remedy}.")


def print_data_notes(plan: "Plan") -> None:
    """Print how the program split the user's own data of the pending runs."""
    for data in dict.fromkeys(run.config.data for run in plan.pending if run.config.data.source in USER_SOURCES):
        if note := load(data).note:
            console().print(f"{note}.")


def announce(plan: "Plan") -> None:
    """Print how many runs there are, how many of them are skipped, continued or started over, and their folders."""
    states = [run.state for run in plan.pending]
    counts = {
        "finished before and skipped": len(plan.runs) - len(plan.pending),
        "to be continued": states.count(RunState.CONTINUED),
        f"to be started over, the old ones kept in {ASIDE}": states.count(RunState.RESTARTED),
    }
    parts = [count(len(plan.runs), "run"), *(f"{number} {text}" for text, number in counts.items() if number)]
    places = " and ".join(str(folder) for folder in plan.folders)
    console().print(f"{', '.join(parts)}; results in {places}.{_format_repeated(plan)}")
    print_data_notes(plan)
    _print_unused_variants(plan)
    lacking = [run for run in plan.runs if run.state is RunState.FINISHED and _lacks_weights(run)]
    if lacking:
        again = "add --restart to train them again"
        console().print(f"{count(len(lacking), 'finished run')} without the weights of keep_weights: {again}.")
    if any(run.config.engine == "compiled" and not run.config.gradient_checkpointing for run in plan.pending):
        console().print("The nets' blocks are compiled first, which may take minutes.")


def _print_unused_variants(plan: "Plan") -> None:
    """Print how to train the variants of the user's own that no run of the plan has."""
    used = list(dict.fromkeys(run.config.variant for run in plan.runs))
    unused = [name for name, variant in VARIANTS.items() if variant.plugin and name not in used]
    if unused:
        console().print(f"Not among the runs: {', '.join(unused)}; add with variant={','.join([*used, *unused])}.")


def _lacks_weights(run: "PlannedRun") -> bool:
    return run.config.keep_weights != "none" and not (run.directory / WEIGHTS).is_dir()


def print_concurrency(groups: "Sequence[Group]") -> None:
    """Print how many devices share the runs, and how many train at once where memory allows fewer than usual."""
    for group in groups:
        if group.parts:
            most = max(part.concurrency for part in group.parts)
            console().print(f"The runs are divided among {len(group.parts)} devices, up to {most} at once on each.")
    for wanted, fitting, concurrency in dict.fromkeys((g.wanted, g.fitting, g.concurrency) for g in groups):
        if concurrency < wanted:
            console().print(
                f"{count(concurrency, 'run')} at once instead of {wanted}: the free memory is too small for more."
            )
        elif fitting < wanted:
            remedy = f"runs_per_job={wanted}: the free memory is expected to hold {fitting}"
            console().print(f"{remedy}; a run that gets no memory fails, the others continue.")


def print_estimate(seconds: float, device_name: str, *, on_gpu: bool) -> None:
    """Print the expected time and, for more than an hour, ways to shorten it."""
    console().print(f"About {duration(seconds)} on {device_name}.")
    if seconds < 3600:
        return
    hints = [] if on_gpu else ["a GPU (device=cuda)"]
    hints += ["fewer or lower depths", "a shorter recipe.epochs=N", "data.limit=N images", "data=digits (minutes)"]
    console().print(f"Quicker: {', '.join(hints)}. It can be stopped and continued with the same command at any time.")


def print_jobs(ready: "ReadySweep") -> None:
    """Print how many jobs a launcher gets, and how many runs are in Slurm's queue already."""
    plan, jobs = ready.plan, ready.jobs
    queued = (queue() if jobs and plan.launcher.is_slurm else None) or {}
    found = submitted(plan.results, plan.pending, queued) if queued else {}
    jobs = tuple(job for job in jobs if any(run.directory not in found for run in job))
    if found:
        console().print(f"{count(len(found), 'run')} in Slurm's queue already.")
    if jobs:
        most = max(map(len, jobs))
        each = "a run each" if most == 1 else f"up to {count(most, 'run')} each"
        console().print(f"{count(len(jobs), 'job')} for {plan.launcher.name}, {each}.")


def print_submission(made: "Submission", *, detached: bool) -> None:
    """Print which jobs of Slurm train the runs, and how to look at them and to end them."""
    earlier = [job for job in made.folders if job not in made.submitted]
    if earlier:
        runs = sum(job in earlier for job in made.jobs.values())
        console().print(
            f"{count(runs, 'run')} in Slurm's queue already, as {abbreviate(earlier)}, with the options given then."
        )
    if made.submitted:
        number = count(len(made.submitted), "job")
        console().print(f"{number} submitted to Slurm, as {abbreviate(made.submitted)}.")
    if made.refused:
        console().print(f"{made.refused[0].upper()}{made.refused[1:]}.")
    ids = abbreviate(made.folders)
    if detached:
        folders = " ".join(dict.fromkeys(shlex.quote(str(run.directory.parent)) for run in made.runs))
        console().print(
            f"To look: squeue --me, resdepth summary {folders}; to watch, the same command without --detach."
        )
        console().print(f"To end them: scancel {ids}; the same command then continues the runs.")
    else:
        console().print(f"They go on if this command is stopped; scancel {ids} ends them.")


def _format_repeated(plan: "Plan") -> str:
    text = f" {count(plan.repeated, 'point')} of the sweep repeat another run and are trained once."
    return text if plan.repeated else ""
