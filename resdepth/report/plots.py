"""Writes the figures of `resdepth.report.figures` to files, and removes those that the results no longer give."""

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from resdepth.errors import ConfigError
from resdepth.report.figures.draw import METRICS, draw
from resdepth.report.style import FORMATS, is_marked, save_figure
from resdepth.results.filters import Filters
from resdepth.results.run_directory import safe_name
from resdepth.results.table import Track, distinct, experiment_folder, read_selected


@dataclass(frozen=True)
class PlotRequest:
    """What is drawn: the runs below `roots` that the filters keep, to `out` or beside the runs."""

    roots: Sequence[Path]
    out: Path | None = None
    formats: tuple[str, ...] = ("png", "svg")
    metric: str = "both"
    x: str = "epoch"
    filters: Filters = field(default_factory=lambda: Filters({}))

    def mark(self, experiment: str, stem: str, *, has_epochs: bool) -> str:
        """Return what tells the file of this name that such a request draws of this experiment from all others.

        `has_epochs`: of a figure with an axis of epochs or iterations. A copy by another name is a user's own.
        """
        # The metric as the files' names say it: two choices may draw the same file.
        metric = METRICS[self.metric]
        shown = (metric.suffix, metric.curves_suffix, self.x) if has_epochs else (metric.suffix,)
        parts = repr((experiment, stem, self.filters.label, shown))
        return f"resdepth plot {sha256(parts.encode()).hexdigest()[:16]}"


class PlotResult(NamedTuple):
    """Files written and removed, a line for each file of results that could not be read, and the runs in each state."""

    files: list[Path]
    removed: list[Path]
    problems: list[str]
    states: dict[str, int]


def plot(request: PlotRequest, track: Track = iter) -> PlotResult:
    """Write the figures of every experiment to `figures/` in its folder, or all of them to the folder requested.

    Several folders are drawn as one experiment, into `figures/` in the folder that contains them. `track` wraps the
    runs' folders while they are read. Raises ConfigError if there is nothing to draw or a figure cannot be written.
    """
    request = replace(request, roots=distinct(request.roots))
    if request.out is not None and not request.out.is_dir() and request.out.suffix[1:] in FORMATS:
        raise ConfigError("--out", request.out, "is the name of a file; name a folder, and the type with --format")
    table, problems = read_selected(request.roots, request.filters, track)
    column = METRICS[request.metric].column
    if table[column].isna().all():
        remedy = "sweep with recipe.eval_clean=true" if column == "train_error_clean" else "choose another metric"
        raise ConfigError("--metric", request.metric, f"no run measured {column}; {remedy}")
    files: list[Path] = []
    removed: list[Path] = []
    suffix = f"_{safe_name(request.filters.label)}" if request.filters.label else ""
    drawn: dict[str, Path] = {}
    for experiment, name, figure in draw(table, request.metric, request.x):
        folder = drawn[experiment] = _folder(request, experiment)
        prefix = f"{experiment.replace('/', '-')}_" if request.out or len(request.roots) > 1 else ""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            stem = folder / f"{prefix}{name}{suffix}"
            mark = request.mark(experiment, stem.name, has_epochs=name.startswith(("training", "curves")))
            files += save_figure(figure, stem, request.formats, mark)
        except OSError as error:
            reason = "is a file" if folder.is_file() else f"cannot be written to ({error.strerror})"
            raise ConfigError("--out", folder, f"{reason}; use --out FOLDER") from error
    for experiment, folder in drawn.items():
        removed += _remove_stale(request, experiment, folder, files)
    states = Counter(sorted(table.drop_duplicates(["experiment", "run"]).state))
    return PlotResult(files, removed, problems, states)


def _folder(request: PlotRequest, experiment: str) -> Path:
    if request.out is not None:
        return request.out
    if len(request.roots) == 1:
        return experiment_folder(request.roots[0], experiment) / "figures"
    folder = Path(os.path.commonpath([root.absolute().parent for root in request.roots]), "figures")
    return folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder


def _remove_stale(request: PlotRequest, experiment: str, folder: Path, files: Iterable[Path]) -> list[Path]:
    """Remove the figures that an earlier request of this kind drew and this one did not, by name; return them.

    Files of other types of a figure that was drawn stay.
    """
    current = {file.stem for file in files}
    others = [file for file in sorted(folder.iterdir()) if file.stem not in current]
    kinds = (True, False)
    stale = [f for f in others if any(is_marked(f, request.mark(experiment, f.stem, has_epochs=k)) for k in kinds)]
    for file in stale:
        file.unlink()
    return stale
