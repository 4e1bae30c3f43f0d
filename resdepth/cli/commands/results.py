"""The commands that read results: `plot` and `summary`."""

import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

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

    conditions = [word for word in words or [] if "=" in word and not _exists(word)]
    folders = [Path(word) for word in words or [] if word not in conditions]
    options = {"depth": depth, "variant": variant, "seed": seed}
    conditions += [f"{key}={value}" for key, value in options.items() if value is not None]
    return folders or [Path("results")], Filters.parse([*conditions, *(where or [])])


def _exists(word: str) -> bool:
    with suppress(OSError):  # a long condition is no name of a file
        return Path(word).exists()
    return False


def _removed(result: "PlotResult") -> Iterator[str]:
    return (f"{file}: removed, since the results no longer give this figure" for file in result.removed)


def _watch(request: "PlotRequest") -> None:
    """Draw whenever the runs have changed, until none is trained, or waits in Slurm's queue, any more, or Ctrl-C."""
    from resdepth.sweep.jobs.launch_folder import is_queued

    seen: _State | None = None
    changed, has_drawn, told = time.monotonic(), False, set[str]()
    with suppress(KeyboardInterrupt):
        while True:
            started = time.monotonic()
            state = _state(request.roots)
            if state != seen or state.is_training:
                changed = started
            elif has_drawn and started - changed >= _QUIET_SECONDS:
                if not is_queued(request.roots):
                    return
                changed = started
            if state != seen:
                seen = state
                try:
                    _draw_again(request, told)
                    has_drawn = True
                except ConfigError as error:
                    # There may be runs later; where there are some, and none is trained, a filter is wrong.
                    if error.field != "results" and not state.is_training:
                        raise
                    if str(error) not in told:
                        told.add(str(error))
                        print(f"Waiting ({error})", flush=True)
                except FileNotFoundError:  # a run that was moved meanwhile
                    seen = None
            # Drawing takes at most a third of the time, and of a core.
            time.sleep(max(_POLL_SECONDS, 2 * (time.monotonic() - started)))


def _draw_again(request: "PlotRequest", told: set[str]) -> None:
    """Draw, and print a line, and what is wrong with files of results."""
    from resdepth.report.plots import plot as write_figures

    result = write_figures(request)
    warn(_removed(result))
    warn(line for line in result.problems if line not in told)
    told.update(result.problems)
    counts = ", ".join(f"{number} {state}" for state, number in result.states.items())
    print(f"{time.strftime('%H:%M:%S')} drew {len(result.files)} files; runs: {counts}", flush=True)


class _State(NamedTuple):
    """How far the runs are: their files with sizes and times, and those that a process is training."""

    files: frozenset[tuple[Path, int, int]]
    training: frozenset[Path]

    @property
    def is_training(self) -> bool:
        return bool(self.training)


def _state(folders: Sequence[Path]) -> _State:
    from resdepth.results.files.lock import is_locked
    from resdepth.results.run_directory import run_folders

    files, training = set[tuple[Path, int, int]](), set[Path]()
    # A run that is moved while it is looked at is found at the next look.
    with suppress(FileNotFoundError):
        for run in (run for folder in folders for run in run_folders(folder)):
            if is_locked(run):
                training.add(run)
            for file in (run / "metrics.csv", run / "outcome.json"):
                with suppress(FileNotFoundError):
                    files.add((file, file.stat().st_size, file.stat().st_mtime_ns))
    return _State(frozenset(files), frozenset(training))
