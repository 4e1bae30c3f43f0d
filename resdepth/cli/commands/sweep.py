"""The commands `sweep` and `train`."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Context, Exit, Option

from resdepth.cli.commands.options import ConfigDir, Overrides, Plugins, Quiet
from resdepth.cli.signals import exit_on_signals, goes_on
from resdepth.cli.stdout import busy, warn
from resdepth.config.checks import require_choice
from resdepth.config.schema import RunConfig
from resdepth.errors import ConfigError
from resdepth.host import cores
from resdepth.models.plugins import use_plugins

if TYPE_CHECKING:
    from resdepth.results.outcome import Outcome
    from resdepth.sweep.plan import Plan, PlannedRun
    from resdepth.sweep.preflight import ReadySweep

KEYS = """Overrides use Hydra's syntax, key=value; a,b,c or range(a,b,step) sweeps over values:

    depth=20,56,110    variant=plain,residual    seed=0,1,2    device=auto    precision=fp32    name=FOLDER\n
    data=digits|cifar10|cifar100|mnist|fashion_mnist|npz|folder    data.path= .limit= .validation= .size= .root=\n
    recipe=NAME    recipe.lr= .epochs= .iterations= .batch_size= .milestones= .momentum= .weight_decay= ...\n
    model.width= .shortcut=A|B|C .downsample=stride|max|avg .batch_norm= .zero_init_residual=\n
    experiment=NAME    results=FOLDER    hydra/launcher=slurm|ray_cluster|joblib    hydra.launcher.partition= ...

resdepth show lists what there is to choose from; resdepth show keys explains every key."""

_LISTED = 2  # failures of one kind that get a line each
Cfg = Annotated[
    str | None, Option("--cfg", "-c", help="Print the first run's configuration: job (YAML), or origin of each value.")
]
Detach = Annotated[
    bool, Option("--detach", help="On Slurm: submit the jobs and return; the same command without it watches them.")
]
Jobs = Annotated[str | None, Option("--jobs", "-j", metavar="N", help="Runs at once: short for runs_per_job=N.")]
Multirun = Annotated[bool, Option("--multirun", "-m", help="Accepted as in Hydra; a sweep always is one.")]


@exit_on_signals()
def sweep(
    context: Context,
    overrides: Overrides = None,
    dry_run: Annotated[
        bool, Option("--dry-run", help="List the runs, their state and the time they would take; train nothing.")
    ] = False,
    quiet: Quiet = False,
    restart: Annotated[bool, Option("--restart", help="Start every run over; keep earlier results in .aside.")] = False,
    config_dir: ConfigDir = None,
    cfg: Cfg = None,
    jobs: Jobs = None,
    detach: Detach = False,
    multirun: Multirun = False,
    plugin: Plugins = None,
) -> None:
    """Train a net at every point of the sweep, plain and residual unless variant= is set."""
    use_plugins(plugin or [])
    swept = context.info_name == "sweep"
    overrides = _with_options(overrides or [], jobs, is_one_run=not swept and multirun)
    if cfg is not None:
        print(_composed(cfg, overrides, config_dir, swept=swept), end="")
        return
    with busy("Reading the configuration", quiet=quiet):
        from resdepth.cli import plans, printing
        from resdepth.sweep.plan import make_plan

        plan = make_plan(overrides, config_dir, swept=swept, restart=restart)
    if detach and not plan.launcher.is_slurm:
        raise ConfigError("--detach", "", "needs jobs that go on without this command; add hydra/launcher=slurm")
    if dry_run:
        _report_dry_run(plan)
        return
    with busy("Loading PyTorch and the data", quiet=quiet):
        ready = _prepare(plan)
    from resdepth.cli.progress import track_reading

    if not quiet:
        plans.announce(plan)
        plans.print_concurrency(ready.groups)
        _print_estimate(ready)
    outcomes = _train(ready, config_dir, detach=detach, quiet=quiet)
    if outcomes is None:
        return
    if not quiet:
        warn(printing.print_results(plan, track_reading))
    failed = [(run, o) for run, o in zip(plan.pending, outcomes, strict=True) if not o.is_result]
    warn(_describe_failures(failed))
    if failed:
        raise Exit(1)


def _train(ready: "ReadySweep", config_dir: Path | None, *, detach: bool, quiet: bool) -> "Sequence[Outcome] | None":
    """Train the pending runs, or submit their jobs and watch them; return the outcomes, or None where it detached."""
    from resdepth.cli import plans
    from resdepth.cli.progress import open_progress
    from resdepth.results.outcome import Outcome
    from resdepth.sweep.jobs.cluster import submit
    from resdepth.sweep.jobs.launch import launch
    from resdepth.sweep.jobs.slurm import abbreviate
    from resdepth.sweep.jobs.watch import watch

    if not (ready.plan.launcher.is_slurm and ready.plan.pending):
        with open_progress(ready.plan, quiet=quiet) as observer:
            return launch(ready, observer, config_dir)
    unknown = "jobs that were submitted, if any, go on: squeue --me lists them, scancel JOB ends one"
    with busy("Submitting the jobs", quiet=quiet), goes_on(unknown):
        submitted = submit(ready, config_dir)
    if not quiet:
        plans.print_submission(submitted, detached=detach)
    if detach:
        if submitted.refused:
            warn([submitted.refused])
            raise Exit(1)
        return None
    ids = abbreviate(submitted.folders)
    with (
        goes_on(f"Slurm's jobs go on: squeue --me lists them, scancel {ids} ends them"),
        open_progress(ready.plan, quiet=quiet) as observer,
    ):
        outcomes = watch(submitted, observer)
    refused = Outcome("failed", 0.0, submitted.refused)
    return [outcomes.get(run.directory, refused) for run in ready.plan.pending]


def _describe_failures(failed: "Iterable[tuple[PlannedRun, Outcome]]") -> Iterator[str]:
    """Yield a line for each failed run; one for all where more than a few failed for the same reason."""
    folders: dict[str, list[Path]] = {}
    for run, outcome in failed:
        folders.setdefault(outcome.message, []).append(run.directory)
    for reason, found in folders.items():
        if len(found) > _LISTED:
            yield f"{found[0]} and {len(found) - 1:,} other runs: failed: {reason}"
        else:
            yield from (f"{folder}: failed: {reason}" for folder in found)


def _prepare(plan: "Plan") -> "ReadySweep":
    """Load torch and check the plan."""
    from resdepth.sweep import processes

    is_on_cpu = {run.config.device for run in plan.pending} <= {"auto", "cpu"}
    if len(plan.pending) > 1 and cores() > 1 and is_on_cpu and not plan.launcher.is_external:
        processes.prepare()  # loads torch while this process does the same
    from resdepth.sweep.preflight import preflight

    return preflight(plan)


def _with_options(overrides: list[str], jobs: str | None, *, is_one_run: bool) -> list[str]:
    """Return the overrides with that of --jobs. Raises ConfigError for options that contradict them or the command."""
    if is_one_run:
        raise ConfigError("--multirun", "", "train makes one run; use resdepth sweep")
    if jobs is None:
        return overrides
    if any(o.lstrip("+").startswith("runs_per_job=") for o in overrides):
        raise ConfigError("--jobs", jobs, "is short for runs_per_job=N; set only one of the two")
    try:
        RunConfig(runs_per_job=jobs)
    except ConfigError as error:
        raise ConfigError("--jobs", jobs, error.remedy) from error
    return [*overrides, f"runs_per_job={jobs}"]


def _composed(kind: str, overrides: list[str], config_dir: Path | None, *, swept: bool) -> str:
    """Return the configuration of the first point: its values as YAML (job), or with where each comes from (origin)."""
    require_choice("--cfg", kind, ("job", "origin"))
    from resdepth.config.origin import composed_origins, composed_yaml

    compose = composed_yaml if kind == "job" else composed_origins
    return compose(overrides, config_dir, swept=swept)


def _report_dry_run(plan: "Plan") -> None:
    """Print the plan at once, then what takes loading torch: how long it would take. Downloads and trains nothing."""
    from resdepth.cli import plans

    plans.print_plan(plan)
    plans.print_missing_data(plan)
    plans.print_data_notes(plan)
    sys.stdout.flush()
    if plan.pending:
        from resdepth.sweep.preflight import unchecked

        try:
            ready = unchecked(plan)
            plans.print_jobs(ready)
            _print_estimate(ready)
        except ConfigError as error:
            print(f"On this machine the sweep would not start: {error}")


def _print_estimate(ready: "ReadySweep") -> None:
    with busy("Timing training steps"):
        from resdepth import device
        from resdepth.cli import plans
        from resdepth.sweep.preflight import estimate_seconds

        seconds = estimate_seconds(ready)
    if seconds is not None:
        group = ready.groups[0]
        used = device.resolve(group.runs[0].config.device)
        several = f"{len(group.parts)} times " if group.parts else ""
        plans.print_estimate(seconds, several + device.device_name(used), on_gpu=used.type == "cuda")
