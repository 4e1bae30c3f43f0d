"""What a probe's CSV file shows, in sentences with numbers. Needs no torch."""

import math
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from resdepth.probes.report.table import (
    BLOCKS,
    after_training,
    at_initialisation,
    best_rates,
    count_seeds,
    decay_means,
    describe_decay,
    describe_epoch,
    format_number,
    geometric_mean,
    gradient_sizes,
    judge,
    load,
    require_rows_of,
)  # fmt: skip

# Points of training error: less makes no difference; at least so many more, and the net has collapsed.
_SAME, _COLLAPSE = 1.0, 10.0
# The largest change of a logit, relative to the largest logit, that rounding in fp32 explains.
_ROUNDING = 1e-3


def findings(name: str, csv: Path) -> list[str]:
    """Return what the CSV file of the probe `name` shows, in sentences. Raises RecordError for another file."""
    require_rows_of(name, csv)
    rows = load(csv, by_rate=name != "learn-identity")
    several = rows.model.nunique() > 1
    return [
        f"{model}: {line[0].lower()}{line[1:]}" if several else line
        for model, part in rows.groupby("model", observed=True)
        for line in _FINDINGS[name](part)
    ]


def _per_net(rows: pd.DataFrame, column: str, mean: Callable[..., float], words: Callable[[float], str]) -> str:
    """Return "at 20, 56 layers: plain 2.2, 399 (explodes); residual ...": means over seeds, words for the deepest."""
    parts = []
    for net, part in rows.groupby("net", observed=True):
        means = part.groupby("depth")[column].agg(mean)
        said = words(means.iloc[-1])
        numbers = ", ".join(map(format_number, means)) + (f" ({said})" if said else "")
        parts.append((str(net), numbers, f"at {_join(means.index)} layers"))
    if len({depths for *_, depths in parts}) == 1:
        return f"{parts[0][2]}: " + "; ".join(f"{net} {numbers}" for net, numbers, _ in parts)
    return "; ".join(f"{net} {depths}: {numbers}" for net, numbers, depths in parts)


def _join(values: Iterable[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)


def _range(values: Any) -> str:
    """Return "90.0 %", or "89.1 to 90.0 %"."""
    low, high = f"{np.nanmin(values):.1f}", f"{np.nanmax(values):.1f}"
    return f"{low} %" if low == high else f"{low} to {high} %"


def _gradients(rows: pd.DataFrame) -> Iterator[str]:
    start, trained = at_initialisation(rows), after_training(rows[rows.epoch > rows.epoch.min()])
    for stage in (start, trained):
        for setting, part in gradient_sizes(stage).groupby("setting", observed=True):
            said = "; ".join(_describe_gradient(str(net), each) for net, each in part.groupby("net", observed=True))
            yield f"{describe_epoch(stage)}, {setting}: {said}."
    image = start[start.layer == 0]
    for setting, part in image.dropna(subset=["neighbour_correlation"]).groupby("setting", observed=True):
        cosines = _per_net(part, "neighbour_correlation", lambda values: values.mean(), lambda _: "")
        what = "mean cosine of the input gradients of an image and the point a tenth of the way to another"
        yield f"{describe_epoch(start)}, {setting}, {what} {cosines}."


def _describe_gradient(net: str, sizes: pd.DataFrame) -> str:
    """Return what depth does to the gradients of one net, with the numbers that show it."""
    verdict, column = judge(sizes)
    numbers = ", ".join(map(format_number, sizes.groupby("depth")[column].agg(geometric_mean)))
    nets = f"{net}-{', -'.join(str(depth) for depth in sorted(set(sizes.depth)))}"
    what = "first / last layer's gradient" if column == "ratio" else "mean gradient of the layers"
    return f"{nets} {what} {numbers} ({verdict})"


def _identity(rows: pd.DataFrame) -> Iterator[str]:
    rows = after_training(rows).dropna(subset=["logit_change"])
    for (setting, net, kind), part in rows.groupby(["setting", "net", "kind"], observed=True):
        nets = f"{net}-{', -'.join(f'{depth}' for depth in sorted(set(part.depth)))} {setting}"
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
    rows = best_rates(rows)
    for setting, part in rows.groupby("setting", observed=True):
        nets = []
        for net, each in part.groupby("net", observed=True):
            errors = each.groupby("layers").error.mean()
            ends = [f"{format_number(errors[k])} % with {k} layers" for k in dict.fromkeys(errors.index[[0, -1]])]
            nets.append(f"{net} {' and '.join(ends)}")
        yield f"Error in percent of the squared input, {setting}, each at its best rate: {'; '.join(nets)}."


def _grow(rows: pd.DataFrame) -> Iterator[str]:
    last = rows.further_epoch.max()
    rows = rows[rows.further_epoch == last]
    errors = rows.groupby(["setting", "net", "depth", "added"], observed=True).train_error.mean()
    for (setting, net), part in errors.groupby(["setting", "net"], observed=True):
        for added in sorted({key[-1] for key in part.index} - {0}):
            ends = []
            for depth in sorted({key[2] for key in part.index}):
                pair = [part.get((setting, net, depth, layers), math.nan) for layers in (added, 0)]
                difference = pair[0] - pair[1]
                if math.isfinite(pair[1]) and not math.isfinite(pair[0]):
                    ends.append(f"diverged against {pair[1]:.1f} % at {depth} layers (hurts)")
                elif math.isfinite(difference):
                    word = "no difference" if abs(difference) < _SAME else "hurts" if difference > 0 else "helps"
                    ends.append(f"{pair[0]:.1f} % against {pair[1]:.1f} % at {depth} layers ({word})")
            if ends:
                epochs = f"{last} further epochs"
                start = describe_epoch(rows).lower()
                yield f"{net} {setting}, {added} layers added {start}: {epochs} later {', '.join(ends)}."


def _decay(rows: pd.DataFrame) -> Iterator[str]:
    means = decay_means(rows).dropna(subset=["branch_ratio", "error"])
    flags = ["decay_bias", "decay_bn"]
    several = len(means[flags].drop_duplicates()) > 1
    for (setting, net, *chosen), part in means.groupby(["setting", "net", *flags], observed=True):
        choice = f", {describe_decay(*map(bool, chosen))}" if several else ""
        table = part.groupby(["weight_decay", "depth"])[["branch_ratio", "weight_share", "error"]].mean().unstack()
        is_collapsed = (table["error"] - table["error"].iloc[0] >= _COLLAPSE).any(axis=1)
        trained = table[~is_collapsed]
        first, last = trained.iloc[0], trained.iloc[-1]
        ends = [", ".join(map(format_number, end["branch_ratio"])) for end in (first, last)]
        shrunk = ", ".join(f"{100 * (1 - share):.0f}" for share in last["weight_share"])
        layers = f"{net} at {_join(first['branch_ratio'].index)} layers {setting}{choice}"
        line = f"{layers}: |F(x)|/|x| is {ends[0]} at decay {first.name:g}"
        line += f" and {ends[1]} at {last.name:g}, where |W| is smaller by {shrunk} %" if len(trained) > 1 else ""
        collapsed = table[is_collapsed]
        if len(collapsed):
            before, after = (_range(each["error"].to_numpy()) for each in (trained, collapsed))
            line += f"; at decay {_join(collapsed.index)} the net collapses: training error {after} instead of {before}"
        yield f"{line}."


_FINDINGS: dict[str, Callable[[pd.DataFrame], Iterator[str]]] = {
    "gradients": _gradients,
    "identity": _identity,
    "learn-identity": _learn_identity,
    "grow": _grow,
    "decay": _decay,
}
