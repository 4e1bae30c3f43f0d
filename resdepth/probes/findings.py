"""What a probe's CSV file shows, in sentences with numbers, and the table that they are made from. Needs no torch."""

import math
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from resdepth.report.comparison import variants_in
from resdepth.variants import VARIANTS

# The first layer's gradient over the last's: above and below these, depth changes the gradient's size.
EXPLODES, VANISHES = 10.0, 0.1
# Points of training error: less makes no difference; at least so many more, and the net has collapsed.
_SAME, _COLLAPSE = 1.0, 10.0
# The largest change of a logit, relative to the largest logit, that rounding in fp32 explains.
_ROUNDING = 1e-3
_NET = ["model", "setting", "net", "depth"]
_BLOCKS = {"zero": "blocks of zero weights", "dirac": "identity layers"}


def findings(name: str, csv: Path) -> list[str]:
    """Return what the CSV file of the probe `name` shows: one to four sentences for each model in it."""
    rows = load(csv, by_rate=name != "learn-identity")
    several = rows.model.nunique() > 1
    return [
        f"{model}: {line}" if several else line
        for model, part in rows.groupby("model", observed=True)
        for line in _FINDINGS[name](part)
    ]


def load(csv: Path, *, by_rate: bool) -> pd.DataFrame:
    """Read a probe's CSV file; infinite values become NaN.

    Adds `net` (variant, whether it starts as the identity and, `by_rate`, the learning rate where one net has several)
    and `setting` (with or without batch norm). Both are ordered, so that groups and panels have the same order.
    """
    rows = pd.read_csv(csv, dtype={"run": str, "model": str, "variant": str}).replace([math.inf, -math.inf], math.nan)
    names = rows.variant.where(~(rows.zero_init_residual & rows.variant.map(_has_shortcut)), rows.variant + ", zero init")
    if by_rate and rows.groupby(["model", names, "depth", "batch_norm"]).lr.nunique().max() > 1:
        names = names + ", rate " + rows.lr.map("{:g}".format)
    order = [name for variant in variants_in(rows) for name in sorted(set(names[rows.variant == variant]))]
    settings = rows.batch_norm.map({True: "with batch norm", False: "without batch norm"})
    return rows.assign(
        net=pd.Categorical(names, order, ordered=True),
        setting=pd.Categorical(settings, ["with batch norm", "without batch norm"], ordered=True),
    )


def _has_shortcut(variant: str) -> bool:
    return variant not in VARIANTS or VARIANTS[variant].has_shortcut


def at_initialisation(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the least epoch: 0, unless the file has none."""
    return rows[rows.epoch == rows.epoch.min()]


def after_training(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the last epoch of every run."""
    return rows[rows.epoch == rows.groupby(["model", "run"]).epoch.transform("max")]


def first_over_last(rows: pd.DataFrame) -> pd.DataFrame:
    """Return `ratio` of every net and seed: the gradient of the first layer's weights over that of the last.

    The last layer is the one before the classifier, which has another shape. A ratio that is not finite is left out.
    """
    layers = rows[(rows.layer >= 1) & (rows.layer < rows.depth)].sort_values("layer")
    found = layers.groupby([*_NET, "seed"], observed=True).weight_gradient.agg(
        lambda norms: norms.iloc[0] / norms.iloc[-1] if norms.iloc[-1] > 0 else math.nan
    )
    return found.rename("ratio").dropna().reset_index()


def geometric_mean(values: "pd.Series[float]") -> float:
    """Return the geometric mean: of seeds whose values differ by orders of magnitude. 0 if one of them is 0."""
    with np.errstate(divide="ignore"):
        return float(np.exp(np.log(values).mean()))


def judge(ratio: float) -> str:
    """Say what happens to a gradient that is `ratio` times as large in the first layer as in the last."""
    return "explodes" if ratio > EXPLODES else "vanishes" if ratio < VANISHES else "kept"


def format_number(value: float) -> str:
    """Format with three significant digits and thousands: 0.451, 21.3, 279,000, 1.2e-09."""
    if abs(value) >= 1e7 or 0 < abs(value) < 1e-3:
        return f"{value:.1e}"
    return f"{float(f'{value:.3g}'):,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def best_rates(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the rate with the lowest mean error over seeds, for each net and number of layers.

    A rate at which fewer seeds have a finite error is worse.
    """
    net = ["model", "setting", "net", "layers"]
    rates = rows.groupby([*net, "lr"], observed=True).error.agg(["mean", lambda errors: errors.isna().sum()])
    rates.columns = pd.Index(["mean", "missing"])
    best = rates.reset_index().sort_values(["missing", "mean", "lr"]).drop_duplicates(net)
    return rows.merge(best[[*net, "lr"]], on=[*net, "lr"]).dropna(subset=["error"])


def decay_means(rows: pd.DataFrame) -> pd.DataFrame:
    """Return one row per net, seed and weight decay: means over blocks, and `weight_share`, 1 at the least decay.

    Without decay, whether biases decay makes no difference: those nets are in the rows of either choice.
    """
    net, choice, measures = [*_NET, "seed"], ["decay_bias", "decay_bn"], ["branch_ratio", "weight_norm", "error"]
    means = after_training(rows).groupby([*net, *choice, "weight_decay"], observed=True)[measures].mean().reset_index()
    choices = means.loc[means.weight_decay > 0, choice].drop_duplicates()
    choices = choices if len(choices) else means[choice].drop_duplicates().head(1)
    without = means[means.weight_decay == 0].groupby([*net, "weight_decay"], observed=True)[measures].mean()
    means = pd.concat([means[means.weight_decay > 0], without.reset_index().merge(choices, how="cross")])
    means = means.sort_values([*net, *choice, "weight_decay"], ignore_index=True)
    least = means.groupby([*net, *choice], observed=True).weight_norm.transform("first")
    return means.assign(weight_share=means.weight_norm / least)


def _per_net(rows: pd.DataFrame, column: str, mean: Callable[..., float], words: Callable[[float], str]) -> str:
    """Return "plain 2.2, 399 at 20, 56 layers, explodes; residual ...": means over seeds, and words for the deepest."""
    parts = []
    for net, part in rows.dropna(subset=[column]).groupby("net", observed=True):
        means = part.groupby("depth")[column].agg(mean)
        numbers, said = ", ".join(map(format_number, means)), words(means.iloc[-1])
        parts.append(f"{net} {numbers} at {_join(means.index)} layers" + (f": {said}" if said else ""))
    return "; ".join(parts)


def _join(values: object) -> str:
    return ", ".join(f"{value:g}" for value in values)  # type: ignore[attr-defined]


def _gradients(rows: pd.DataFrame) -> Iterator[str]:
    start = at_initialisation(rows)
    words = {"explodes": "explodes towards the input", "vanishes": "vanishes towards the input", "kept": "kept"}
    stages = [("At initialisation" if start.epoch.iloc[0] == 0 else f"After epoch {start.epoch.iloc[0]}", start)]
    trained = after_training(rows[rows.epoch > rows.epoch.min()])
    if len(trained):
        stages.append((f"After training ({_join(sorted(set(trained.epoch)))} epochs)", trained))
    for when, stage in stages:
        for setting, part in first_over_last(stage).groupby("setting", observed=True):
            ratios = _per_net(part, "ratio", geometric_mean, lambda ratio: words[judge(ratio)])
            yield f"{when}, {setting}, gradient of the first layer's weights over the last's: {ratios}."
    image = start[(start.layer == 0) & start.correlation.notna()]
    cosines = [
        f"{setting}, {_per_net(part, 'correlation', lambda v: v.mean(), lambda _: '')}"
        for setting, part in image.groupby("setting", observed=True)
    ]
    if cosines:
        yield f"{stages[0][0]}, mean cosine of two images' gradients at the input: {'; '.join(cosines)}."


def _identity(rows: pd.DataFrame) -> Iterator[str]:
    rows = after_training(rows).dropna(subset=["logit_change"])
    for (setting, net, kind), part in rows.groupby(["setting", "net", "kind"], observed=True):
        nets = f"{net}-{', -'.join(f'{depth}' for depth in sorted(set(part.depth)))} {setting}"
        places = len(part[["depth", "place"]].drop_duplicates())
        inserted = f"{_join(sorted(set(part.blocks)))} {_BLOCKS.get(str(kind), kind)}"
        inserted = f"{nets}: {_BLOCKS.get(str(kind), kind)} ({_join(sorted(set(part.blocks)))} at a time)"
        where = f"at each of {places} places ({count_seeds(part)})"
        relative = (part.logit_change / part.logit_scale).max()
        low, high = part.error.min(), part.error.max()
        if part.logit_change.max() == 0:
            yield f"{inserted} change the logits by exactly 0 {where}."
        elif relative <= _ROUNDING:
            change = f"change a logit by at most {relative:.0e} of the largest"
            yield f"{inserted} {change} {where}, which is rounding: a deeper net with the same error exists."
        else:
            before = ", ".join(f"{error:.1f}" for error in part.groupby("depth").error_before.mean())
            after = f"{low:.1f} %" if high - low < 0.05 else f"{low:.1f} to {high:.1f} %"
            yield f"{inserted} give a training error of {after} {where}; before it was {before} %."


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
    rows = rows.dropna(subset=["train_error"])
    rows = rows[rows.further_epoch == rows.further_epoch.max()]
    errors = rows.groupby(["setting", "net", "depth", "added"], observed=True).train_error.mean()
    for (setting, net), part in errors.groupby(["setting", "net"], observed=True):
        for added in sorted({key[-1] for key in part.index} - {0}):
            ends = []
            for depth in sorted({key[2] for key in part.index}):
                pair = [part.get((setting, net, depth, layers), math.nan) for layers in (added, 0)]
                difference = pair[0] - pair[1]
                if math.isfinite(difference):
                    word = "no difference" if abs(difference) < _SAME else "hurts" if difference > 0 else "helps"
                    ends.append(f"{pair[0]:.1f} % against {pair[1]:.1f} % at {depth} layers ({word})")
            if ends:
                epochs = f"{rows.further_epoch.max()} further epochs"
                yield f"{net} {setting}, {added} layers added, after {epochs} and as it was: {', '.join(ends)}."


def _decay(rows: pd.DataFrame) -> Iterator[str]:
    means = decay_means(rows)
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
            worst = f"{collapsed['error'].min().min():.1f} to {collapsed['error'].max().max():.1f} %"
            line += f"; from decay {collapsed.index[0]:g} on the training error is up to {worst}"
        yield f"{line}."


def describe_decay(decay_bias: bool, decay_bn: bool) -> str:
    """Say which parameters besides the weights decay."""
    if decay_bias == decay_bn:
        return "biases decay" if decay_bias else "biases do not decay"
    return "biases decay, batch norm does not" if decay_bias else "batch norm decays, biases do not"


def count_seeds(rows: pd.DataFrame) -> str:
    """Return "3 seeds", or "seed 0" where there is one."""
    seeds = sorted(set(rows.seed))
    return f"{len(seeds)} seeds" if len(seeds) > 1 else f"seed {seeds[0]}"


_FINDINGS: dict[str, Callable[[pd.DataFrame], Iterator[str]]] = {
    "gradients": _gradients,
    "identity": _identity,
    "learn-identity": _learn_identity,
    "grow": _grow,
    "decay": _decay,
}
