"""The commands on trained nets: `probe`, one sub-command per probe with options of its own, and `eval`."""

import shlex
import sys
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Annotated, Any

from typer import Argument, Exit, Option, Typer

from resdepth.cli.commands import completion
from resdepth.cli.commands.options import ConfigDir, Formats, Plugins, Quiet
from resdepth.cli.signals import exit_on_signals
from resdepth.cli.stdout import warn
from resdepth.config.checks import expand_path
from resdepth.errors import ConfigError, ResdepthError
from resdepth.probes.rows import PROBES

app = Typer(no_args_is_help=True, rich_markup_mode=None)

Targets = Annotated[
    list[str] | None,
    Argument(
        metavar="RESULTS|KEY=VALUE",
        help="A folder with trained nets, of a sweep with keep_weights=all; or overrides as for sweep, for nets at "
        "their initialisation.",
        autocompletion=completion.complete_target,
    ),
]
Trained = Annotated[
    list[str] | None,
    Argument(
        metavar="RESULTS",
        help="A folder with trained nets, of a sweep with keep_weights=last or all.",
        autocompletion=completion.complete_folder,
    ),
]
Stacks = Annotated[
    list[str] | None,
    Argument(
        metavar="KEY=VALUE",
        help="Overrides as for sweep; the stacks have depth - 2 layers.",
        autocompletion=completion.complete_override,
    ),
]
Out = Annotated[
    Path | None, Option(help="Folder for the CSV and the figures.", show_default="probes/NAME beside the runs")
]
Restart = Annotated[bool, Option("--restart", help="Measure everything again; keep the earlier CSV in .aside.")]


def _command(name: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a probe's command, with its source, and the columns of its CSV below the options."""
    probe = PROBES[name]
    units = {c.name: f" ({c.metadata['unit']})" if c.metadata["unit"] else "" for c in fields(probe.row)}
    columns = (f"{c.name}{units[c.name]}: {c.metadata['meaning']}" for c in fields(probe.row))
    epilog = f"Columns of {name}.csv:" + "".join(f"\n\n    {column}" for column in columns)
    title = f"{probe.title} ({probe.source})"
    return app.command(name, help=f"{probe.summary} {probe.source}.", short_help=title, epilog=epilog)


@_command("gradients")
def gradients(
    targets: Targets = None, out: Out = None, formats: Formats = "png,svg", restart: Restart = False,
    quiet: Quiet = False, config_dir: ConfigDir = None, plugin: Plugins = None,
    every: Annotated[int, Option(help="Of trained nets, measure every so many epochs, besides first and last.")] = 1,
) -> None:  # fmt: skip
    _require("--every", every, 1, 10**6)
    _run("gradients", targets, out, formats, config_dir, plugin, {}, restart=restart, quiet=quiet, every=every)


@_command("identity")
def identity(
    targets: Trained = None, out: Out = None, formats: Formats = "png,svg", restart: Restart = False,
    quiet: Quiet = False, config_dir: ConfigDir = None, plugin: Plugins = None,
    blocks: Annotated[str, Option(help="Numbers of blocks to insert at each place.")] = "1,10",
) -> None:  # fmt: skip
    words = blocks.split(",")
    if not all(word.isdecimal() and len(word) < 5 and 1 <= int(word) <= 1000 for word in words):
        raise ConfigError("--blocks", blocks, "needs whole numbers from 1 to 1,000, such as 1,10")
    options = {"blocks": sorted({int(word) for word in words})}
    _run("identity", targets, out, formats, config_dir, plugin, options, restart=restart, quiet=quiet)


@_command("learn-identity")
def learn_identity(
    targets: Stacks = None, out: Out = None, formats: Formats = "png,svg", restart: Restart = False,
    quiet: Quiet = False, config_dir: ConfigDir = None, plugin: Plugins = None,
) -> None:  # fmt: skip
    _run("learn-identity", targets, out, formats, config_dir, plugin, {}, restart=restart, quiet=quiet)


@_command("grow")
def grow(
    targets: Trained = None, out: Out = None, formats: Formats = "png,svg", restart: Restart = False,
    quiet: Quiet = False, config_dir: ConfigDir = None, plugin: Plugins = None,
    blocks: Annotated[int, Option(help="Blocks of two layers to add.")] = 9,
    epochs: Annotated[int, Option(help="Epochs to go on training.")] = 3,
    epoch: Annotated[int | None, Option(help="Start from this epoch's weights.", show_default="the last")] = None,
) -> None:  # fmt: skip
    _require("--blocks", blocks, 1, 1000)
    _require("--epochs", epochs, 1, 10**6)
    _require("--epoch", 1 if epoch is None else epoch, 1, 10**6)
    options = {"blocks": blocks, "epochs": epochs}
    _run("grow", targets, out, formats, config_dir, plugin, options, restart=restart, quiet=quiet, epoch=epoch)


@_command("decay")
def decay(
    targets: Trained = None, out: Out = None, formats: Formats = "png,svg", restart: Restart = False,
    quiet: Quiet = False, config_dir: ConfigDir = None, plugin: Plugins = None,
) -> None:  # fmt: skip
    _run("decay", targets, out, formats, config_dir, plugin, {}, restart=restart, quiet=quiet)


@app.command("table", help="Print what the probes below a folder found, as a table in Markdown.")
def table(
    results: Annotated[Path, Argument(help="Folder with probes.")] = Path("results"),
    is_whole: Annotated[bool, Option("--all", help="Print all that was found, not the first sentences.")] = False,
) -> None:
    from resdepth.probes.report.claims import make_table

    print(*make_table(results, is_whole=is_whole), sep="\n")


def _require(option: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise ConfigError(option, value, f"needs a whole number from {least} to {most:,}")


@exit_on_signals()
def _run(
    name: str, targets: list[str] | None, out: Path | None, formats: str, config_dir: Path | None,
    plugins: list[Path] | None, options: dict[str, Any], *, restart: bool, quiet: bool, every: int = 1,
    epoch: int | None = None,
) -> None:  # fmt: skip
    """Measure, draw the figures, and print what was found and the files."""
    from resdepth.cli.progress import track_nets
    from resdepth.models.plugins import use_plugins
    from resdepth.probes.probe import measure
    from resdepth.probes.report import findings
    from resdepth.probes.selection import select
    from resdepth.report.style import parse_formats

    use_plugins(plugins or [])
    chosen = parse_formats(formats)
    probe = PROBES[name]
    selection = select(probe, targets or [], config_dir, every=every, epoch=epoch)
    if out is not None:
        selection = replace(selection, folder=expand_path("--out", str(out)))
    words = [word for word in sys.argv[1:] if word not in ("--restart", "--quiet", "-q")]
    with track_nets(len(selection.nets), quiet=quiet) as on_net:
        csv, failures = measure(probe, selection, options, shlex.join(["resdepth", *words]), on_net, restart=restart)
    warn([*selection.problems, *failures])
    if csv.exists():
        files = [csv, *_draw(name, csv, chosen)]
        if not quiet:
            print(*findings.findings(name, csv), sep="\n")
            print(*files, sep="\n")
    if failures:
        raise Exit(1)


def _draw(name: str, csv: Path, formats: tuple[str, ...]) -> list[Path]:
    """Write the probe's figures beside its CSV; remove earlier ones that do not show these rows."""
    from resdepth.probes.report.figures import draw, stems
    from resdepth.report.style import FORMATS, save_figure

    files: list[Path] = []
    try:
        for stem, figure in draw(name, csv):
            files += save_figure(figure, csv.with_name(stem), formats)
        for path in (csv.with_name(f"{stem}.{suffix}") for stem in stems(name, csv) for suffix in FORMATS):
            if path not in files:
                path.unlink(missing_ok=True)
    except OSError as error:
        remedy = f"cannot be written to ({error.strerror}); fix that and run the same command again"
        raise ConfigError("--out", csv.parent, remedy) from error
    return files


@exit_on_signals(continues=False)
def evaluate(
    results: Annotated[Path, Argument(metavar="RUN", help="A run's folder, or a folder of runs.")],
    overrides: Annotated[
        list[str] | None,
        Argument(metavar="[KEY=VALUE]...", help="Another data set: data=NAME, data.KEY=VALUE; device."),
    ] = None,
    config_dir: ConfigDir = None,
    plugin: Plugins = None,
) -> None:
    """Print loss and error of trained nets on their own data set or another one; write them to evaluations.csv."""
    from resdepth.cli.printing import print_evaluation
    from resdepth.models.plugins import use_plugins
    from resdepth.probes import evaluation

    use_plugins(plugin or [])
    runs, problems = evaluation.select_runs(results)
    warn(problems)
    failures: dict[str, int] = {}
    done = 0
    for folder, config in runs:
        try:
            print_evaluation(evaluation.evaluate(folder, config, overrides or [], config_dir))
            done += 1
        except ResdepthError as error:
            # Where the data set or an override is wrong for all of them, they say the same.
            warn([str(error)] if str(error) not in failures else [])
            failures[str(error)] = error.exit_code
    if failures:
        raise Exit(1 if done else max(failures.values()))
