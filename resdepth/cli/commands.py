"""The command line. Each command imports its worker inside, so that `--help` starts without torch."""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from resdepth import __version__
from resdepth.cli.signals import exit_on_signals
from resdepth.errors import one_line

if TYPE_CHECKING:
    from resdepth.sweep.plan import Plan
    from resdepth.sweep.preflight import ReadySweep

app = typer.Typer(
    name="resdepth",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

_KEYS = """Overrides are Hydra's, key=value; a,b,c or range(a,b,step) makes an axis:

    depth=20,56,110    variant=plain,residual    seed=0,1,2    device=auto    precision=fp32    name=FOLDER\n
    data=digits|cifar10|cifar100|mnist|fashion_mnist|npz|folder    data.path= .limit= .validation= .size= .root=\n
    recipe=NAME    recipe.lr= .epochs= .iterations= .batch_size= .milestones= .momentum= .weight_decay= ...\n
    model.width= .shortcut=A|B|C .downsample=stride|max|avg .batch_norm= .zero_init_residual=\n
    experiment=NAME    results=FOLDER

The README lists every key and what it means."""

Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Hydra overrides.", show_default=False)
]
ConfigDir = Annotated[
    Path | None,
    typer.Option("--config-dir", help="A folder with YAML of your own: data/, recipe/, ...", show_default=False),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print problems only.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="List the runs and their state; train nothing.")]
Restart = Annotated[bool, typer.Option("--restart", help="Start every run over; the old ones are kept aside.")]
Results = Annotated[Path, typer.Argument(help="A folder of results.")]


def _print_version(is_asked: bool) -> None:
    if is_asked:
        print(f"resdepth {__version__}")
        raise typer.Exit


@app.callback()
def resdepth(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Why do deeper plain networks train worse, and residual ones not? Train both, at every depth, and see."""


@app.command(epilog=_KEYS)
def sweep(
    overrides: Overrides = None,
    dry_run: DryRun = False,
    quiet: Quiet = False,
    restart: Restart = False,
    config_dir: ConfigDir = None,
) -> None:
    """Train a net at every point of the sweep, plain and residual unless variant= says otherwise."""
    from resdepth.sweep.plan import make_plan

    _carry_out(make_plan(overrides or [], config_dir, restart=restart), dry_run, quiet, config_dir)


@app.command(epilog=_KEYS)
def train(
    overrides: Overrides = None,
    dry_run: DryRun = False,
    quiet: Quiet = False,
    restart: Restart = False,
    config_dir: ConfigDir = None,
) -> None:
    """Train one net: a sweep of one point."""
    from resdepth.sweep.plan import make_plan

    _carry_out(make_plan(overrides or [], config_dir, swept=False, restart=restart), dry_run, quiet, config_dir)


@app.command()
def plot(
    results: Results = Path("results"),
    out: Annotated[
        Path | None, typer.Option(help="Write all figures to this folder.", show_default="beside the runs")
    ] = None,
    formats: Annotated[str, typer.Option("--format", help="png, svg, or both: png,svg.")] = "png,svg",
    metric: Annotated[str, typer.Option(help="What the curves show: error, loss or clean.")] = "error",
    x: Annotated[str, typer.Option("--x", help="What the curves run over: epoch or iteration.")] = "epoch",
) -> None:
    """Draw the curves of every experiment under a folder, from the CSV files alone."""
    from resdepth.report import plots

    chosen = tuple(dict.fromkeys(part.strip() for part in formats.split(",")))
    for field, values, allowed in (
        ("--format", chosen, plots.FORMATS),
        ("--metric", (metric,), plots.METRICS),
        ("--x", (x,), plots.X_AXES),
    ):
        _require_choices(field, values, tuple(allowed))
    files, problems = plots.plot(results, out, chosen, metric, x)
    _warn(problems)
    for file in files:
        print(file)


@app.command()
def summary(
    results: Results = Path("results"),
    csv: Annotated[Path | None, typer.Option(help="Write the table to this CSV file too.", show_default=False)] = None,
) -> None:
    """Print the final errors, the paper's beside them where they apply, and the verdict."""
    from resdepth.cli import printing

    _warn(printing.print_summary(results, csv))


@app.command(epilog=_KEYS)
def bench(
    overrides: Overrides = None,
    at_once: Annotated[str, typer.Option(help="Runs side by side, such as 1,2,4.")] = "1",
    baseline: Annotated[bool, typer.Option("--usual/--no-usual", help="Measure the usual DataLoader loop too.")] = True,
    sweep: Annotated[bool, typer.Option("--sweep", help="Time the whole sweep instead of a step.")] = False,
    out: Annotated[
        Path | None, typer.Option(help="The results' folder.", show_default="results/bench/DEVICE-steps")
    ] = None,
) -> None:
    """Measure a training step: time, memory, the ratio to the device's floors, the usual loop beside it."""
    from resdepth.errors import ConfigError

    numbers = at_once.split(",")
    if not all(number.isdigit() and 1 <= int(number) <= 32 for number in numbers):
        raise ConfigError("--at-once", at_once, "needs whole numbers from 1 to 32, such as 1,2,4")
    from resdepth.bench.benchmark import bench_steps, bench_sweep
    from resdepth.cli.printing import console

    report = console().print
    with exit_on_signals(continues=False):
        if sweep:
            folder = bench_sweep(overrides or [], out, report)
        else:
            folder = bench_steps(overrides or [], out, [int(n) for n in numbers], report, baseline=baseline)
    print(folder)


def _carry_out(plan: "Plan", dry_run: bool, quiet: bool, config_dir: Path | None) -> None:
    from resdepth.cli import printing

    if dry_run:
        printing.print_plan(plan)
        return
    if len(plan.pending) > 1 and not plan.uses_external_launcher:
        from resdepth.host import cores
        from resdepth.sweep import processes

        if cores() > 1 and {run.config.device for run in plan.pending} <= {"auto", "cpu"}:
            processes.prepare()  # it loads torch while this process does
    from resdepth.cli.progress import open_progress
    from resdepth.sweep.launch import launch
    from resdepth.sweep.preflight import preflight

    ready = preflight(plan)
    if not quiet:
        printing.announce(plan)
        _print_estimate(ready)
    with exit_on_signals(), open_progress(plan, quiet=quiet) as make_observer:
        outcomes = launch(ready, make_observer, config_dir)
    if not quiet:
        _warn(printing.print_results(plan))
    failed = [(run, o) for run, o in zip(plan.pending, outcomes, strict=True) if not o.is_result]
    _warn(f"{run.directory}: failed: {outcome.message}" for run, outcome in failed)
    if failed:
        raise typer.Exit(1)


def _print_estimate(ready: "ReadySweep") -> None:
    from resdepth import device
    from resdepth.cli import printing
    from resdepth.sweep.preflight import estimate_seconds

    seconds = estimate_seconds(ready)
    if seconds is not None:
        used = device.resolve(ready.groups[0].runs[0].config.device)
        printing.print_estimate(seconds, device.device_name(used), on_gpu=used.type == "cuda")


def _require_choices(field: str, values: tuple[str, ...], allowed: tuple[str, ...]) -> None:
    from resdepth.errors import ConfigError

    for value in values:
        if value not in allowed:
            raise ConfigError(field, value, f"choose one of {', '.join(allowed)}")


def _warn(lines: Iterable[str]) -> None:
    for line in lines:
        print(f"resdepth: {one_line(line)}", file=sys.stderr)
