"""Tables and lines on standard output: the plan, the estimate, the results, the summary."""

import math
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from rich.console import Console
from rich.table import Table

from resdepth.errors import ConfigError
from resdepth.report.comparison import comparisons, last_epochs, rate_sweeps
from resdepth.report.summary import at_best_rate, best_rates, summarise, verdict
from resdepth.results.filters import Filters
from resdepth.results.table import Track, read_runs, read_selected

if TYPE_CHECKING:
    from resdepth.probes.evaluation import Evaluated
    from resdepth.sweep.plan import Plan

_OPTIONAL = ("experiment", "setting", "lr", "paper's test error", "others' (how many)", "note")
_LEFT_ALIGNED = ("directory", "experiment", "setting", "variant", "state", "note")


def console() -> Console:
    """Return a console on standard output; in a pipe it is wide enough for every row to stay on one line."""
    return Console(width=None if sys.stdout.isatty() else 1000, highlight=False, markup=False, soft_wrap=True)


def duration(seconds: float) -> str:
    """Format seconds in a suitable unit: <1 s, 45 s, 3 min, 5 h 20 min, 3 days."""
    if seconds < 90:
        return f"{seconds:.0f} s" if seconds >= 0.5 else "<1 s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02d} min" if hours < 48 else f"{hours / 24:.0f} days"


def percent(error: float, digits: int = 2) -> str:
    """Format an error in percent; a dash if it was not measured (NaN)."""
    return "-" if math.isnan(error) else f"{error:.{digits}f} %"


def print_table(columns: Mapping[str, Iterable[object]], title: str | None = None) -> None:
    """Print named columns as a table; optional columns are left out if all their cells are empty."""
    cells = {name: [str(cell) for cell in column] for name, column in columns.items()}
    cells = {name: column for name, column in cells.items() if any(column) or name not in _OPTIONAL}
    table = Table(box=None, pad_edge=False, title=title, title_justify="left")
    for name in cells:
        table.add_column(name, justify="left" if name in _LEFT_ALIGNED else "right", overflow="fold")
    for row in zip(*cells.values(), strict=True):
        table.add_row(*row)
    console().print(table)


def print_evaluation(found: "Evaluated") -> None:
    """Print loss and error of a net on both splits, and the file that holds them."""
    row = found.row
    data = f"{row.dataset} ({row.data})" if row.data else row.dataset
    splits = [("test", row.test_error, row.test_loss), ("training", row.train_error, row.train_loss)]
    texts = [f"{split} error {percent(error)}, {split} loss {loss:.4g}" for split, error, loss in splits]
    console().print(f"{found.folder.name}, epoch {row.epoch}, {data}: {'; '.join(texts)}")
    console().print(found.file)


def print_results(plan: "Plan", track: Track = iter) -> list[str]:
    """Print a row per run of the plan and a verdict per comparison; return a line for each file that cannot be read."""
    rows, problems = read_runs([run.directory for run in plan.runs], track=track)
    if rows.empty:
        return problems
    runs = pd.concat([last_epochs(c.rows).assign(setting=c.label) for c in comparisons(rows)])
    columns = {
        "variant": runs.variant,
        "depth": runs.depth,
        "seed": runs.seed,
        "final training error": map(percent, runs.train_error),
        "final test error": map(percent, runs.test_error),
        "time": map(duration, runs.seconds),
        "state": runs.state,
        "experiment": runs.experiment if len(plan.folders) > 1 else (),
        "setting": runs.setting,
    }
    print_table(columns)
    _print_verdicts(rows)
    commands = (shlex.join(["resdepth", "plot", str(folder)]) for folder in plan.folders)
    console().print(f"To draw the figures: {' && '.join(commands)}")
    return problems


def print_summary(roots: Sequence[Path], filters: Filters, csv: Path | None, track: Track = iter) -> list[str]:
    """Print the summary of every experiment below the folders, of the runs that the filters keep; write it to `csv`.

    Returns a line for each file that cannot be read.
    """
    rows, problems = read_selected(roots, filters, track)
    table = pd.concat([summarise(comparison) for comparison in comparisons(rows)])
    if csv is not None:
        try:
            table.to_csv(csv, index=False, float_format="%.4g")
        except OSError as error:
            raise ConfigError("--csv", csv, f"cannot be written ({error.strerror or error}); use --csv FILE") from error
    for experiment, group in table.groupby("experiment", sort=False):
        _print_summary_table(str(experiment), group)
        own = rows[rows.experiment == experiment]
        for comparison in rate_sweeps(own):
            name = f"{comparison.experiment}, {comparison.label}" if comparison.label else comparison.experiment
            _print_summary_table(f"{name}: each variant and depth at its best rate", best_rates(comparison))
        _print_verdicts(own)
        console().print()
    return problems


def _print_summary_table(title: str, rows: pd.DataFrame) -> None:
    columns: dict[str, Iterable[object]] = {
        "setting": rows.setting,
        "lr": [f"{lr:g}" for lr in rows.get("lr", ())],
        "variant": rows.variant,
        "depth": rows.depth,
        "seeds": rows.seeds,
        "training error": map(_format_mean, rows.train_error, rows.train_error_std),
        "test error": map(_format_mean, rows.test_error, rows.test_error_std),
        "paper's test error": [error and f"{error} %" for error in rows.paper_test_error],
        "others' (how many)": rows.reproduced_test_error,
        "time a run": map(duration, rows.seconds),
        "note": rows.note,
    }
    print_table(columns, title)
    console().print()


def _print_verdicts(rows: pd.DataFrame) -> None:
    several = rows.experiment.nunique() > 1
    for comparison in comparisons(rows):
        _print_sentence((f"{comparison.experiment}: " if several else "") + verdict(comparison))
    for comparison in rate_sweeps(rows):
        _print_sentence(f"Each at its best rate: {verdict(at_best_rate(comparison))}")


def _print_sentence(text: str) -> None:
    """Print a long line; a terminal would break it within a word."""
    console().print(text, soft_wrap=not sys.stdout.isatty())


def _format_mean(mean: float, deviation: float) -> str:
    if pd.isna(mean):
        return ""
    return f"{mean:.2f} %" if pd.isna(deviation) else f"{mean:.2f} ± {deviation:.2f} %"
