"""The command line. Each command imports its worker inside, so that `--help` starts without torch."""

import os
import shlex
import signal
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from resdepth import __version__
from resdepth.errors import ResdepthError, one_line

if TYPE_CHECKING:
    from resdepth.sweep import Plan

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
    from resdepth.sweep import make_plan

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
    from resdepth.sweep import make_plan

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
    from resdepth import plots

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
    from resdepth import display

    _warn(display.print_summary(results, csv))


def _carry_out(plan: "Plan", dry_run: bool, quiet: bool, config_dir: Path | None) -> None:
    from resdepth import display

    if dry_run:
        display.print_plan(plan)
        return
    from resdepth.execute import check, execute
    from resdepth.progress import choose_observer

    check(plan)
    if not quiet:
        display.announce(plan)
        _estimate(plan)
    with _stopped_by_signals(), choose_observer(plan, quiet=quiet) as observer:
        outcomes = execute(plan, observer, config_dir)
    if not quiet:
        _warn(display.print_results(plan))
    failed = [(run, o) for run, o in zip(plan.pending, outcomes, strict=True) if not o.is_result]
    _warn(f"{run.directory}: failed: {outcome.message}" for run, outcome in failed)
    if failed:
        raise typer.Exit(1)


class _Stopped(KeyboardInterrupt):
    """SIGTERM or SIGHUP: like Ctrl-C, with an exit code of its own."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


@contextmanager
def _stopped_by_signals() -> Iterator[None]:
    """End cleanly on Ctrl-C, SIGTERM and SIGHUP: say how to go on, exit with 128 + the signal's number."""

    def stop(number: int, _frame: object) -> None:
        raise _Stopped(number)

    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    except KeyboardInterrupt as error:
        # What is to be continued is not to be started over again.
        words = [word for word in sys.argv[1:] if word != "--restart"]
        _warn([f"stopped; to continue: {shlex.join(['resdepth', *words])}"])
        raise typer.Exit(128 + (error.number if isinstance(error, _Stopped) else signal.SIGINT)) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _estimate(plan: "Plan") -> None:
    from resdepth import device, display
    from resdepth.execute import estimate_seconds

    seconds = estimate_seconds(plan) if plan.pending else None
    if seconds is not None:
        where = device.resolve(plan.pending[0].config.device)
        display.print_estimate(seconds, device.device_name(where), on_gpu=where.type == "cuda")


def _require_choices(field: str, values: tuple[str, ...], allowed: tuple[str, ...]) -> None:
    from resdepth.errors import ConfigError

    for value in values:
        if value not in allowed:
            raise ConfigError(field, value, f"choose one of {', '.join(allowed)}")


def _warn(lines: Iterable[str]) -> None:
    for line in lines:
        print(f"resdepth: {one_line(line)}", file=sys.stderr)


def main() -> None:
    """The console script: errors as one line on stderr, exit code 2 for bad input."""
    try:
        code = app(standalone_mode=False) or 0
        sys.stdout.flush()
        sys.exit(code)
    except ResdepthError as error:
        _warn([str(error)])
        sys.exit(error.exit_code)
    except OSError as error:
        # What standard output could not take, it shall not try to take again when Python ends.
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):  # `resdepth summary | head` is no fault
            _warn([f"{error.filename or 'output'}: {error.strerror or error}; mend that and say the same again"])
        sys.exit(1)
    except Exception as error:
        # Typer's own errors: an unknown command or option, a value that is none. They know how to say themselves.
        if not hasattr(error, "format_message"):
            raise
        _warn([_said_by_typer(error.format_message())])
        sys.exit(2)


def _said_by_typer(message: str) -> str:
    line = " ".join(message.split())
    hint = "; overrides are written key=value, as in depth=20" if "No such option" in line else ""
    return f"{line.rstrip('.')}{hint}; resdepth --help shows what there is"
