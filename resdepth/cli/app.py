"""The Typer application. Commands import what they need themselves, so that `--help` loads neither torch nor pandas."""

from typing import Annotated

from typer import Exit, Option, Typer

from resdepth import __version__
from resdepth.cli.commands import probe, results, show
from resdepth.cli.commands.bench import bench
from resdepth.cli.commands.sweep import KEYS, sweep

app = Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(is_asked: bool) -> None:
    if is_asked:
        print(f"resdepth {__version__}")
        raise Exit


Version = Annotated[bool, Option("--version", callback=_print_version, is_eager=True, help="Print the version.")]


@app.callback()
def resdepth(_version: Version = False) -> None:
    """Why do deeper plain networks train worse, and residual ones not? Train both at several depths and compare."""


app.command(epilog=KEYS)(sweep)
app.command("train", epilog=KEYS, help="Train one net: a sweep of one point.")(sweep)
app.command()(results.plot)
app.command()(results.summary)
app.command("eval")(probe.evaluate)
app.command()(show.show)
app.add_typer(probe.app, name="probe", help="Measure what nets do, as a CSV and figures; one sub-command per probe.")
app.command(epilog=KEYS)(bench)
