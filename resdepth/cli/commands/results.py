"""The commands that read results: `plot` and `summary`."""

import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from resdepth.cli.commands import completion
from resdepth.cli.commands.options import Formats
from resdepth.cli.stdout import warn
from resdepth.errors import ConfigError

if TYPE_CHECKING:
    from resdepth.report.plots import PlotRequest, PlotResult
    from resdepth.results.filters import Filters

Words = Annotated[
    list[str] | None,
    Argument(
        metavar="[FOLDER]... [KEY=VALUE]...",
        help="Folders with results (default: results), of which several are compared, and which runs of them.",
        autocompletion=completion.complete_folder,
    ),
]
Depth = Annotated[str | None, Option(metavar="N,N", help="Only these depths.")]
Variant = Annotated[str | None, Option(metavar="NAME,NAME", help="Only these variants.")]
Seed = Annotated[str | None, Option(metavar="N,N", help="Only these seeds.")]
Where = Annotated[list[str] | None, Option(metavar="KEY=VALUE", help="Only runs with this value; can be repeated.")]

_POLL_SECONDS = 1.0
_QUIET_SECONDS = 5.0  # between one run's end and the next one's start


def plot(
    words: Words = None,
    depth: Depth = None,
    variant: Variant = None,
    seed: Seed = None,
    where: Where = None,
    out: Annotated[
        Path | None, Option(help="Write all figures to this folder.", show_default="beside the runs")
    ] = None,
    formats: Formats = "png,svg",
    metric: Annotated[
        str, Option(help="What the figures show: both (training and test error in curves), train, test, loss or clean.")
    ] = "both",
    x: Annotated[str, Option(help="X axis of the curves: epoch or iteration.")] = "epoch",
    watch: Annotated[
        bool, Option("--watch", help="Draw again whenever there are new rows, while a sweep runs.")
    ] = False,
) -> None:
    """Draw the figures of every experiment below a folder from its CSV files."""
    from resdepth.config.checks import require_choice
    from resdepth.report.figures.curves import X_AXES
    from resdepth.report.figures.draw import METRICS
    from resdepth.report.plots import PlotRequest
    from resdepth.report.plots import plot as write_figures
    from resdepth.report.style import parse_formats

    chosen = parse_formats(formats)
    metric = "both" if metric == "error" else metric  # its name in earlier versions
    require_choice("--metric", metric, METRICS)
    require_choice("--x", x, X_AXES)
    folders, filters = _parse(words, depth, variant, seed, where)
    request = PlotRequest(folders, out, chosen, metric, x, filters)
    if watch:
        _watch(request)
        return
    from resdepth.cli.progress import track_reading

    result = write_figures(request, track_reading)
    warn([*result.problems, *_removed(result)])
    print(*result.files, sep="\n")


def summary(
    words: Words = None,
    depth: Depth = None,
    variant: Variant = None,
    seed: Seed = None,
    where: Where = None,
    csv: Annotated[Path | None, Option(help="Also write the table to this CSV file.")] = None,
) -> None:
    """Print final errors, published ones for comparison where they apply, and a verdict."""
    from resdepth.cli.printing import print_summary
    from resdepth.cli.progress import track_reading

    warn(print_summary(*_parse(words, depth, variant, seed, where), csv, track_reading))


def _parse(
    words: list[str] | None, depth: str | None, variant: str | None, seed: str | None, where: list[str] | None
) -> "tuple[list[Path], Filters]":
    """Return the folders and the filters; depth=20 and --depth 20 mean the same."""
    from resdepth.results.filters import Filters

    conditions = [word for word in words or [] if "=" in word and not Path(word).exists()]
    folders = [Path(word) for word in words or [] if word not in conditions]
    options = {"depth": depth, "variant": variant, "seed": seed}
    conditions += [f"{key}={value}" for key, value in options.items() if value is not None]
    return folders or [Path("results")], Filters.parse([*conditions, *(where or [])])


def _removed(result: "PlotResult") -> Iterator[str]:
    return (f"{file}: removed, since the results no longer give this figure" for file in result.removed)


def _watch(request: "PlotRequest") -> None:
    """Draw whenever a file of the runs has changed, until no run is being trained any more, or Ctrl-C."""
    seen, since, pause, is_active, waiting_for = None, time.monotonic(), _POLL_SECONDS, True, ""
    with suppress(KeyboardInterrupt):
        while is_active or time.monotonic() - since < _QUIET_SECONDS:
            if (found := _files(request.roots)) != seen:
                seen, since = found, time.monotonic()
                try:
                    is_active = _draw_again(request)
                except ConfigError as error:  # there may be such runs later
                    if str(error) != waiting_for:
                        waiting_for = str(error)
                        print(f"Waiting ({waiting_for})", flush=True)
                # Drawing takes at most a third of the time, and of a core.
                pause = max(_POLL_SECONDS, 2 * (time.monotonic() - since))
            time.sleep(pause)


def _draw_again(request: "PlotRequest") -> bool:
    """Draw, print a line, and return whether a run is being trained."""
    from resdepth.report.plots import plot as write_figures

    result = write_figures(request)
    warn(_removed(result))
    counts = ", ".join(f"{number} {state}" for state, number in result.states.items())
    print(f"{time.strftime('%H:%M:%S')} drew {len(result.files)} files; runs: {counts}", flush=True)
    return "running" in result.states


def _files(folders: Sequence[Path]) -> list[tuple[Path, int, int]]:
    """Return the files that tell how far the runs are, with their sizes and times."""
    found = [file for folder in folders for name in ("metrics.csv", "outcome.json") for file in folder.rglob(name)]
    return sorted((file, file.stat().st_size, file.stat().st_mtime_ns) for file in found)
