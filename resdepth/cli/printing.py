"""What the commands print: the plan, the estimate, the results, the summary."""

import math
import sys
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.table import Table

from resdepth.errors import ConfigError
from resdepth.report.comparison import comparisons, last_epochs, rate_sweeps
from resdepth.report.summary import at_best_rate, best_rates, summarise, verdict
from resdepth.results.run_directory import ASIDE, RunState
from resdepth.results.table import read_results, read_runs, require_rows
from resdepth.sweep.plan import Plan

# Above this a sweep says what would be quicker.
_LONG_SECONDS = 3600.0


def console() -> Console:
    """Standard output; in a pipe as wide as its lines, so that no row is folded or cut."""
    width = None if sys.stdout.isatty() else 1000
    return Console(width=width, highlight=False, markup=False, soft_wrap=True)


def duration(seconds: float) -> str:
    """Seconds in words of two units: 45 s, 3 min, 5 h 20 min, 3 days."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes:02d} min" if hours < 48 else f"{hours / 24:.0f} days"


def percent(error: float, digits: int = 2) -> str:
    """An error in percent; a dash where it was not measured."""
    return "-" if math.isnan(error) else f"{error:.{digits}f} %"


def print_plan(plan: Plan) -> None:
    """Every run a sweep would make: directory, parameters, length and state."""
    table = Table(box=None, pad_edge=False)
    for name in ("directory", "variant", "depth", "seed", "parameters", "iterations", "state"):
        numeric = name in ("depth", "seed", "parameters", "iterations")
        table.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for run in plan.runs:
        c = run.config
        cells = (
            run.directory,
            c.variant,
            c.depth,
            c.seed,
            f"{run.parameters:,}",
            f"{run.schedule.iterations:,}",
            run.state,
        )
        table.add_row(*(str(cell) for cell in cells))
    console().print(table)
    console().print(
        f"{_count(len(plan.runs), 'run')}, {len(plan.pending)} to train. Nothing was trained.{_repeated(plan)}"
    )


def announce(plan: Plan) -> None:
    """What is about to be done, and what is done already."""
    finished = len(plan.runs) - len(plan.pending)
    continued = sum(run.state == RunState.CONTINUED for run in plan.pending)
    parts = [_count(len(plan.runs), "run")]
    parts += [f"{finished} finished before and skipped"] if finished else []
    parts += [f"{continued} to be continued"] if continued else []
    restarted = sum(run.state == RunState.RESTARTED for run in plan.pending)
    parts += [f"{restarted} to be started over, the old kept in {ASIDE}"] if restarted else []
    places = " and ".join(str(folder) for folder in plan.folders)
    console().print(f"{', '.join(parts)}; results in {places}.{_repeated(plan)}")


def print_estimate(seconds: float, device_name: str, *, on_gpu: bool) -> None:
    """How long it will take and, for a long sweep, what would be quicker."""
    console().print(f"About {duration(seconds)} on {device_name}.")
    if seconds < _LONG_SECONDS:
        return
    hints = [] if on_gpu else ["a GPU (device=cuda)"]
    hints += ["fewer or lower depths", "a shorter recipe.epochs=N", "data.limit=N images", "data=digits (minutes)"]
    console().print(f"Quicker: {', '.join(hints)}. It can be stopped and continued with the same command at any time.")


def print_results(plan: Plan) -> list[str]:
    """The table at a sweep's end, a row per run, and a verdict per setting; the lines of what could not be read."""
    rows, problems = read_runs([run.directory for run in plan.runs])
    if rows.empty:
        return problems
    found = comparisons(rows)
    named = {
        "experiment": len(plan.folders) > 1,
        "setting": any(comparison.label for comparison in found),
    }
    table = Table(box=None, pad_edge=False)
    for name in ("variant", "depth", "seed", "final training error", "final test error", "time", "state"):
        table.add_column(name, justify="left" if name in ("variant", "state") else "right")
    for name in (name for name, is_shown in named.items() if is_shown):
        table.add_column(name, overflow="fold")
    for comparison in found:
        told = {"experiment": comparison.experiment, "setting": comparison.label}
        for _, run in last_epochs(comparison.rows).iterrows():
            errors = (percent(run.train_error), percent(run.test_error))
            cells = [run.variant, str(run.depth), str(run.seed), *errors, duration(run.seconds), run.state]
            table.add_row(*cells, *(told[name] for name, is_shown in named.items() if is_shown))
    console().print(table)
    _print_verdicts(rows)
    return problems


def print_summary(root: Path, csv: Path | None) -> list[str]:
    """The summary of every experiment below `root`; the lines of what could not be read."""
    rows, problems = read_results(root)
    require_rows(rows, root, problems, "sum up")
    tables = [summarise(comparison) for comparison in comparisons(rows)]
    if csv is not None:
        try:
            pd.concat(tables).to_csv(csv, index=False, float_format="%.4g")
        except OSError as error:
            raise ConfigError("--csv", csv, f"cannot be written ({error.strerror or error}); name a file") from error
    for experiment, group in pd.concat(tables).groupby("experiment", sort=False):
        _print_summary_table(str(experiment), group)
        _print_best_rates(rows[rows.experiment == experiment])
        _print_verdicts(rows[rows.experiment == experiment])
        console().print()
    return problems


_OPTIONAL = ("paper_test_error", "reproduced_test_error", "note", "setting")


def _print_summary_table(title: str, rows: pd.DataFrame) -> None:
    has = {column: rows[column].replace("", None).notna().any() for column in _OPTIONAL}
    table = Table(box=None, pad_edge=False, title=title, title_justify="left")
    names = ["setting"] if has["setting"] else []
    names += ["lr"] if "lr" in rows else []
    names += ["variant", "depth", "seeds", "training error", "test error"]
    names += ["paper's test error"] if has["paper_test_error"] else []
    names += ["others' (how many)"] if has["reproduced_test_error"] else []
    names += ["time a run"] + (["note"] if has["note"] else [])
    for name in names:
        table.add_column(name, justify="left" if name in ("setting", "variant", "note") else "right", overflow="fold")
    for row in rows.to_dict("records"):
        cells = {
            **row,
            "lr": f"{row['lr']:g}" if "lr" in row else "",
            "training error": _with_spread(row["train_error"], row["train_error_std"]),
            "test error": _with_spread(row["test_error"], row["test_error_std"]),
            "paper's test error": f"{row['paper_test_error']} %" if row["paper_test_error"] else "",
            "others' (how many)": row["reproduced_test_error"] or "",
            "time a run": duration(row["seconds"]),
        }
        table.add_row(*(str(cells[name]) for name in names))
    console().print(table)
    console().print()


def _print_best_rates(rows: pd.DataFrame) -> None:
    for comparison in rate_sweeps(rows):
        label = f", {comparison.label}" if comparison.label else ""
        _print_summary_table(
            f"{comparison.experiment}{label}: each variant and depth at its best rate", best_rates(comparison)
        )


def _print_verdicts(rows: pd.DataFrame) -> None:
    several = rows.experiment.nunique() > 1
    for comparison in comparisons(rows):
        console().print((f"{comparison.experiment}: " if several else "") + verdict(comparison))
    for comparison in rate_sweeps(rows):
        console().print(f"Each at its best rate: {verdict(at_best_rate(comparison))}")


def _with_spread(mean: float, deviation: float) -> str:
    if pd.isna(mean):
        return ""
    return f"{mean:.2f} %" if pd.isna(deviation) else f"{mean:.2f} ± {deviation:.2f} %"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _repeated(plan: Plan) -> str:
    return (
        f" {_count(plan.repeated, 'point')} of the sweep repeat another run and are trained once."
        if plan.repeated
        else ""
    )
