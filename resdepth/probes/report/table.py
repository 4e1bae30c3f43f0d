"""A probe's CSV file as a table, and the means that its figures and sentences are made from. Needs no torch."""

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from resdepth.probes.rows import PROBES, SETTINGS
from resdepth.report.comparison import count, variants_in
from resdepth.results.files.rows import read
from resdepth.variants import VARIANTS

# A gradient that changes by more than these factors explodes or vanishes: over the layers of a net, and between depths.
_RATIO, _GROWTH = 10.0, 100.0
# With a single depth, a mean norm beyond this factor from 1; those of shallow nets are within it.
_LEVEL = 1000.0
KEPT = "kept"
_NET = ["model", "setting", "net", "depth"]
# Keys of the configuration that every probe's columns hold, or that follow from them.
_IN_COLUMNS = (
    *("variant", "depth", "seed", "data.source", "model.name", "model.architecture", "model.batch_norm"),
    *("model.zero_init_residual", "recipe.lr", "recipe.name"),
)

THIRDS = ("first third", "middle third", "last third")
BLOCKS = {"zero": "blocks of zero weights", "dirac": "identity layers"}


def require_rows_of(name: str, csv: Path) -> None:
    """Raises RecordError, naming file and line, unless the file holds rows of the probe `name`."""
    read(csv, PROBES[name].row)


def load(csv: Path, *, by_rate: bool) -> pd.DataFrame:
    """Read a probe's CSV file; infinite values become NaN.

    Adds `net` (variant, whether it starts as the identity and, `by_rate`, the learning rate where one net has several),
    `setting` (with or without batch norm) and `diverged` (the run, in its training). The first two are ordered, so that
    groups and panels have the same order.
    """
    rows = pd.read_csv(csv, dtype={"run": str, "model": str, "variant": str}).replace([math.inf, -math.inf], math.nan)
    names = rows.variant.where(
        ~(rows.zero_init_residual & rows.variant.map(_has_shortcut)), rows.variant + ", zero init"
    )
    if by_rate and rows.groupby(["model", names, "depth", "batch_norm"]).lr.nunique().max() > 1:
        names = names + ", rate " + rows.lr.map("{:g}".format)
    if "further_epoch" in rows and rows.groupby("run").epoch.nunique().max() > 1:
        names = names + rows.epoch.map(lambda epoch: f", after {count(epoch, 'epoch')}")
    others = _other_differences(csv.parent / SETTINGS, rows.columns)
    names = names + rows.run.map(lambda run: others.get(run, ""))
    order = [name for variant in variants_in(rows) for name in sorted(set(names[rows.variant == variant]))]
    settings = rows.batch_norm.map({True: "with batch norm", False: "without batch norm"})
    if "kind" in rows:
        rows["kind"] = pd.Categorical(rows.kind, sorted(set(rows.kind), reverse=True), ordered=True)
    return rows.assign(
        diverged=rows.run.isin(diverged_runs(csv)),
        net=pd.Categorical(names, order, ordered=True),
        setting=pd.Categorical(settings, ["with batch norm", "without batch norm"], ordered=True),
    )


def diverged_runs(csv: Path) -> list[str]:
    """Return the runs whose training diverged, by the file of settings beside a probe's CSV."""
    try:
        return [str(run) for run in json.loads((csv.parent / SETTINGS).read_text(encoding="utf-8"))["diverged"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _other_differences(settings: Path, columns: Iterable[str]) -> dict[str, str]:
    """Return for each run what distinguishes it from others of its model and variant, besides the CSV's columns.

    As ", model.shortcut B"; nothing without the file of settings.
    """
    try:
        nets: dict[str, dict[str, Any]] = json.loads(settings.read_text(encoding="utf-8"))["nets"]
        kinds = {run: (str(keys.get("model.name")), str(keys.get("variant"))) for run, keys in nets.items()}
        values: dict[tuple[object, ...], set[str]] = {}
        for run, keys in nets.items():
            for key, value in keys.items():
                values.setdefault((kinds[run], key), set()).add(str(value))
        own = {*_IN_COLUMNS, *(f"recipe.{name}" for name in columns)}
        return {
            run: "".join(f", {k} {v}" for k, v in keys.items() if k not in own and len(values[kinds[run], k]) > 1)
            for run, keys in nets.items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}


def _has_shortcut(variant: str) -> bool:
    return variant not in VARIANTS or VARIANTS[variant].has_shortcut


def at_initialisation(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the least epoch: 0, unless the file has none."""
    return rows[rows.epoch == rows.epoch.min()]


def after_training(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the last epoch of every run that has not diverged."""
    return rows[~rows.diverged & (rows.epoch == rows.groupby(["model", "run"]).epoch.transform("max"))]


def name_nets(net: str, depths: Iterable[int]) -> str:
    """Return "plain-20, -56", or "plain, recipe.epochs 5 (20, 56 layers)"."""
    numbers = [str(depth) for depth in sorted(set(depths))]
    return f"{net} ({', '.join(numbers)} layers)" if "," in net else f"{net}-{', -'.join(numbers)}"


def gradient_sizes(rows: pd.DataFrame) -> pd.DataFrame:
    """Return `ratio` and `level` of every net and seed, from the norms of the gradients of the layers' weights.

    The ratio is the first layer's over the last's, the one before the classifier, which has another shape; the level is
    the geometric mean over these layers. Nets without a finite ratio are left out.
    """
    layers = rows[(rows.layer >= 1) & (rows.layer < rows.depth)].sort_values("layer")
    norms = layers.groupby([*_NET, "seed"], observed=True).weight_gradient
    ratio = norms.agg(lambda n: n.iloc[0] / n.iloc[-1] if n.iloc[-1] > 0 else math.nan)
    found = pd.DataFrame({"ratio": ratio, "level": norms.agg(geometric_mean)}).reset_index()
    return found.dropna(subset=["ratio"])


def activation_ratios(rows: pd.DataFrame) -> pd.DataFrame:
    """Return `ratio` of every net and seed: the root mean square of the last layer's activations over the first's.

    The last is the one before the classifier. Nets without a finite ratio above zero are left out.
    """
    layers = rows[(rows.layer >= 1) & (rows.layer < rows.depth)].sort_values("layer")
    sizes = layers.groupby([*_NET, "seed"], observed=True).activation
    ratios = sizes.agg(lambda a: a.iloc[-1] / a.iloc[0]).rename("ratio").reset_index()
    return ratios[ratios.ratio > 0]


def geometric_mean(values: "pd.Series[float]") -> float:
    """Return the geometric mean: of seeds whose values differ by orders of magnitude. 0 if one of them is 0."""
    with np.errstate(divide="ignore"):
        return float(np.exp(np.log(values).mean()))


def judge(sizes: pd.DataFrame) -> tuple[str, str]:
    """Say what depth does to the gradients of one net (`gradient_sizes`), and which column shows it.

    They change towards the input by the ratio of the deepest net, and at every layer by its level over that of the
    shallowest or, with one depth, by the level itself; the larger change of those beyond their thresholds counts.
    """
    means = sizes.groupby("depth")[["ratio", "level"]].agg(geometric_mean)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = float(np.log10(means.ratio.iloc[-1]))
        growth = float(np.log10(means.level.iloc[-1] / (means.level.iloc[0] if len(means) > 1 else 1.0)))
    least = _GROWTH if len(means) > 1 else _LEVEL
    changes = {"ratio": (ratio, _RATIO, "towards the input"), "level": (growth, least, "at every layer")}
    found = {column: change for column, change in changes.items() if abs(change[0]) > math.log10(change[1])}
    if not found:
        return KEPT, "ratio"
    column = max(found, key=lambda name: abs(found[name][0]))
    power, _, where = found[column]
    return f"{'explodes' if power > 0 else 'vanishes'} {where}", column


def format_number(value: float) -> str:
    """Format with three significant digits and thousands: 0.451, 21.3, 279,000, 1.2e-09."""
    if abs(value) >= 1e7 or 0 < abs(value) < 1e-3:
        return f"{value:.1e}"
    return f"{float(f'{value:.3g}'):,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def best_rates(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of the best rate of each net and number of layers, by the geometric mean of the error over seeds.

    A rate at which fewer seeds have a finite error is worse.
    """
    net = ["model", "setting", "net", "layers"]
    groups = rows.assign(missing=rows.error.isna()).groupby([*net, "lr"], observed=True)
    rates = pd.DataFrame({"missing": groups.missing.mean(), "error": groups.error.agg(geometric_mean)})
    best = rates.reset_index().sort_values(["missing", "error", "lr"]).drop_duplicates(net)
    return rows.merge(best[[*net, "lr"]], on=[*net, "lr"]).dropna(subset=["error"])


def decay_means(rows: pd.DataFrame) -> pd.DataFrame:
    """Return one row per net, seed, third of the blocks and weight decay: means over the blocks.

    Adds `third` and `weight_share`, which is 1 at the least decay. Without decay, whether biases decay makes no
    difference: those nets are in the rows of either choice.
    """
    net, choice = [*_NET, "seed", "third"], ["decay_bias", "decay_bn"]
    measures = ["branch_ratio", "weight_norm", "bias_norm", "bn_scale", "error"]
    rows = after_training(rows)
    # In a conv net, these are its three stages; of two blocks, the second is the last.
    blocks = rows.groupby(["model", "run"]).block.transform("max")
    third = ((3 * (rows.block - 1)) // blocks).where((blocks != 2) | (rows.block == 1), 2)
    rows = rows.assign(third=pd.Categorical(third.map(THIRDS.__getitem__), THIRDS, ordered=True))
    means = rows.groupby([*net, *choice, "weight_decay"], observed=True)[measures].mean().reset_index()
    choices = means.loc[means.weight_decay > 0, choice].drop_duplicates()
    choices = choices if len(choices) else means[choice].drop_duplicates().head(1)
    without = means[means.weight_decay == 0].groupby([*net, "weight_decay"], observed=True)[measures].mean()
    means = pd.concat([means[means.weight_decay > 0], without.reset_index().merge(choices, how="cross")])
    means = means.sort_values([*net, *choice, "weight_decay"], ignore_index=True)
    least = means.groupby([*net, *choice], observed=True).weight_norm.transform("first")
    return means.assign(weight_share=means.weight_norm / least)


def describe_decay(decay_bias: bool, decay_bn: bool) -> str:
    """Say which parameters besides the weights decay."""
    if decay_bias == decay_bn:
        return "biases and batch norm decay" if decay_bias else "biases and batch norm do not decay"
    return "biases decay, batch norm does not" if decay_bias else "batch norm decays, biases do not"


def count_seeds(rows: pd.DataFrame) -> str:
    """Return "3 seeds", "2 to 3 seeds" where nets have different numbers, or "seed 0" where there is one."""
    seeds = sorted(set(rows.seed))
    if len(seeds) == 1:
        return f"seed {seeds[0]}"
    each = rows.groupby([key for key in _NET if key in rows], observed=True).seed.nunique()
    if each.max() == 1:
        return "one seed each"
    return f"{each.min()} to {each.max()} seeds" if each.min() < each.max() else f"{each.max()} seeds"


def describe_epoch(rows: pd.DataFrame) -> str:
    """Return "At initialisation", or "After 20 epochs"."""
    epochs = sorted(set(rows.epoch))
    words = f"{epochs[0]} to {epochs[-1]} epochs" if len(epochs) > 1 else count(epochs[0], "epoch")
    return "At initialisation" if epochs == [0] else f"After {words}"
