"""What a probe's CSV file shows, in sentences with numbers. Needs no torch."""

import math
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from resdepth.probes.report.gradient_findings import describe_gradients
from resdepth.probes.report.table import (
    BLOCKS,
    THIRDS,
    after_training,
    best_rates,
    count_seeds,
    decay_means,
    describe_decay,
    describe_epoch,
    format_number,
    geometric_mean,
    load,
    name_nets,
    require_rows_of,
)  # fmt: skip
from resdepth.report.comparison import count

# Points of training error: less makes no difference; at least so many more, and the net has collapsed.
_SAME, _COLLAPSE = 1.0, 10.0
# The largest change of a logit, relative to the largest logit, that rounding in fp32 explains.
_ROUNDING = 1e-3
# The column of a probe that is finite in every net that computes.
_FINITE = {"gradients": "activation", "identity": "logit_change", "decay": "weight_norm"}


def findings(name: str, csv: Path) -> list[str]:
    """Return what the CSV file of the probe `name` shows, in sentences. Raises RecordError for another file."""
    require_rows_of(name, csv)
    rows = load(csv, by_rate=name != "learn-identity")
    several = rows.model.nunique() > 1
    lines = [
        f"{model}: {line[0].lower()}{line[1:]}" if several else line
        for model, part in rows.groupby("model", observed=True)
        for line in _FINDINGS[name](part)
    ]
    # The sentences on learn-identity and grow name themselves what diverges.
    if name in _FINITE:
        lost = rows[rows[_FINITE[name]].isna()].run.unique()
        lines += [f"Left out, because their numbers are not finite: {', '.join(lost)}."] if len(lost) else []
    return lines


def _join(values: Iterable[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)


def _range(values: Any) -> str:
    """Return "90.0 %", or "89.1 to 90.0 %"."""
    low, high = f"{np.nanmin(values):.1f}", f"{np.nanmax(values):.1f}"
    return f"{low} %" if low == high else f"{low} to {high} %"


def _identity(rows: pd.DataFrame) -> Iterator[str]:
    rows = after_training(rows).dropna(subset=["logit_change"])
    for (setting, net, kind), part in rows.groupby(["setting", "net", "kind"], observed=True):
        nets = f"{name_nets(str(net), part.depth)} {setting}"
        places = len(part[["depth", "place"]].drop_duplicates())
        inserted = f"{nets}: {BLOCKS.get(str(kind), kind)} ({_join(sorted(set(part.blocks)))} at a time)"
        where = f"at each of {places} places ({count_seeds(part)})"
        exists = ": a deeper net with the same error exists"
        relative = (part.logit_change / part.logit_scale).max()
        if part.logit_change.max() == 0:
            yield f"{inserted} change the logits by exactly 0 {where}{exists if kind == 'dirac' else ''}."
        elif relative <= _ROUNDING:
            change = f"change a logit by at most {relative:.0e} of the largest"
            yield f"{inserted} {change} {where}, by rounding{exists}."
        else:
            before = ", ".join(f"{error:.1f}" for error in part.groupby("depth").error_before.mean())
            yield f"{inserted} give a training error of {_range(part.error)} {where}; before it was {before} %."


def _learn_identity(rows: pd.DataFrame) -> Iterator[str]:
    for setting, part in rows.groupby("setting", observed=True):
        nets = [f"{net} {_describe_stacks(each)}" for net, each in part.groupby("net", observed=True)]
        seeds = count_seeds(best_rates(part) if part.error.notna().any() else part)
        yield f"Error in percent of the squared input, {setting}, each at its best rate ({seeds}): {'; '.join(nets)}."


def _describe_stacks(rows: pd.DataFrame) -> str:
    """Return the errors of the shortest and the longest stack of one net, and at which length all diverge."""
    best = best_rates(rows)
    lengths, said = sorted(set(best.layers)), []
    for layers in dict.fromkeys(lengths[:1] + lengths[-1:]):
        part = best[best.layers == layers]
        edge = _describe_edge(part.lr.iloc[0], rows[rows.layers == layers].lr)
        said.append(f"{format_number(geometric_mean(part.error))} % with {layers} layers{edge}")
    lost = sorted(set(rows.layers) - set(lengths))
    said += [f"diverges at every rate tried with {_join(lost)} layers"] if lost else []
    return " and ".join(said)


def _describe_edge(rate: float, tried: "pd.Series[float]") -> str:
    """Say where the best rate is an end of those tried: one beyond it may be better."""
    if tried.nunique() == 1 or tried.min() < rate < tried.max():
        return ""
    return f" (at the {'lowest' if rate == tried.min() else 'highest'} rate tried)"


def _grow(rows: pd.DataFrame) -> Iterator[str]:
    last = rows.further_epoch.max()
    keys = ["setting", "net", "depth", "seed"]
    ends = rows[rows.further_epoch == last].pivot_table("train_error", keys, "added", observed=True)
    for (setting, net), part in rows.groupby(["setting", "net"], observed=True):
        for added in sorted(set(part.added) - {0}):
            said = []
            for depth in sorted(set(part.depth)):
                here = [key for key in ends.index if key[:3] == (setting, net, depth)]
                errors = ends.loc[here].reindex(columns=[added, 0])
                if len(errors):
                    said.append(f"{_compare(errors[added], errors[0])} at {depth} layers")
            if said:
                start, epochs = describe_epoch(rows).lower(), count(last, "further epoch")
                what = f"{net} {setting}, {added} layers added {start} ({count_seeds(part)})"
                yield f"{what}: {epochs} later {', '.join(said)}."


def _compare(extended: "pd.Series[float]", alone: "pd.Series[float]") -> str:
    """Say what added layers do: hurt or help where the mean changes by a point and every seed goes the same way."""
    lost = (int(extended.isna().sum()), int(alone.isna().sum()))
    if any(lost):
        sides = (_describe_side(extended, lost[0]), _describe_side(alone, lost[1]))
        return f"{sides[0]} against {sides[1]}" + (" (hurts)" if lost[0] > lost[1] else "")
    change = extended - alone
    goes_one_way = len(change) > 1 and ((change > 0).all() or (change < 0).all())
    is_clear = abs(change.mean()) >= _SAME and goes_one_way
    word = ("hurts" if change.mean() > 0 else "helps") if is_clear else "no clear difference"
    word = "one seed" if len(change) == 1 else word
    return f"{extended.mean():.1f} % against {alone.mean():.1f} % ({word})"


def _describe_side(errors: "pd.Series[float]", lost: int) -> str:
    """Return "12.5 %", "12.5 %, 1 of 3 diverged" or "diverged"."""
    some = f", {lost} of {len(errors)} diverged" if lost else ""
    return "diverged" if lost == len(errors) else f"{errors.mean():.1f} %{some}"


def _decay(rows: pd.DataFrame) -> Iterator[str]:
    means = decay_means(rows).dropna(subset=["branch_ratio", "error"])
    flags = ["decay_bias", "decay_bn"]
    several = len(means[flags].drop_duplicates()) > 1
    for (setting, net, _, *chosen), part in means.groupby(["setting", "net", "depth", *flags], observed=True):
        choice = f", {describe_decay(*map(bool, chosen))}" if several else ""
        table = part.groupby("weight_decay")[["weight_share", "bn_scale", "error"]].mean()
        is_collapsed = table.error - table.error.iloc[0] >= _COLLAPSE
        trained, collapsed = table[~is_collapsed], table[is_collapsed]
        first, last = trained.iloc[0], trained.iloc[-1]
        line = f"{name_nets(str(net), set(part.depth))} {setting}{choice} ({count_seeds(part)}): |F(x)|/|x| in the"
        *thirds, end = (third.split()[0] for third in THIRDS if third in set(part.third))
        line += f" {' and '.join(filter(None, (', '.join(thirds), end)))} third of the blocks is"
        line += f" {_describe_cell(part, first.name)}"
        if len(trained) > 1:
            shrunk = f"where |W| is {last.weight_share:.2f} times as large"
            line += f" and {_describe_cell(part, last.name)}, {shrunk}"
            scales = f"batch norm's scale {format_number(last.bn_scale)} instead of {format_number(first.bn_scale)}"
            line += "" if math.isnan(last.bn_scale) else f" and {scales}"
        if len(collapsed):
            cells = " and ".join(_describe_cell(part, decay) for decay in collapsed.index)
            line += f"; it is {cells}, and the net no longer trains"
        yield f"{line}."


def _describe_cell(rows: pd.DataFrame, decay: Any) -> str:
    """Return "0.99, 0.67, 0.6 at decay 0 (training error 0.0 %)" of one net: means over seeds, range of the error."""
    cell = rows[rows.weight_decay == decay]
    ratios = map(format_number, cell.groupby("third", observed=True).branch_ratio.agg(geometric_mean))
    return f"{', '.join(ratios)} at decay {decay:g} (training error {_range(cell.error.to_numpy())})"


_FINDINGS: dict[str, Callable[[pd.DataFrame], Iterator[str]]] = {
    "gradients": describe_gradients,
    "identity": _identity,
    "learn-identity": _learn_identity,
    "grow": _grow,
    "decay": _decay,
}
