"""What a CSV file of the gradients' probe shows, in sentences with numbers. Needs no torch."""

from collections.abc import Callable, Iterator

import pandas as pd

from resdepth.probes.report.table import (
    activation_ratios,
    after_training,
    at_initialisation,
    count_seeds,
    describe_epoch,
    format_number,
    geometric_mean,
    gradient_sizes,
    judge,
    name_nets,
)  # fmt: skip

# The images whose input gradients a column compares: where they are unrelated, they are shattered.
_PAIRS = {
    "neighbour_correlation": "an image and the point a tenth of the way to another",
    "correlation": "two images",
}


def describe_gradients(rows: pd.DataFrame) -> Iterator[str]:
    """Yield sentences on the gradients and activations of one model's nets, the most important first."""
    start, trained = at_initialisation(rows), after_training(rows[rows.epoch > rows.epoch.min()])
    yield from _describe_stage(start, start[:0])
    if len(trained):
        yield from _describe_stage(trained, start[start.diverged])
    for setting, part in start.groupby("setting", observed=True):
        ends = activation_ratios(part)
        if len(ends):
            said = _per_net(ends, "ratio", geometric_mean)
            yield f"{describe_epoch(part)}, {setting}, size of the last activations over the first {said}."
    for column, pair in _PAIRS.items():
        image = start[start.layer == 0].dropna(subset=[column])
        for setting, part in image.groupby("setting", observed=True):
            cosines = _per_net(part, column, lambda values: values.mean())
            yield f"{describe_epoch(start)}, {setting}, mean cosine of the input gradients of {pair} {cosines}."


def _describe_stage(rows: pd.DataFrame, diverged: pd.DataFrame) -> Iterator[str]:
    """Say what depth does to the gradients at one stage of training, and which nets diverged before it."""
    sizes = gradient_sizes(rows)
    for setting in map(str, rows.setting.cat.categories):
        part, sized, lost = (each[each.setting == setting] for each in (rows, sizes, diverged))
        said = [_describe_gradient(str(net), each, part) for net, each in sized.groupby("net", observed=True)]
        said += [f"diverged in training: {_name_with_seeds(lost)}"] if len(lost) else []
        if said:
            yield f"{describe_epoch(rows)}, {setting} ({count_seeds(rows)}): {'; '.join(said)}."
    yield from _describe_zeros(rows)


def _describe_zeros(rows: pd.DataFrame) -> Iterator[str]:
    """Say which nets have no gradient at their last layer, and so no ratio, or at any layer."""
    layers = rows[(rows.layer >= 1) & (rows.layer < rows.depth)].sort_values("layer")
    norms = layers.groupby(["setting", "net", "depth", "seed"], observed=True).weight_gradient
    dead = norms.agg(["last", "max"]).query("last == 0").reset_index()
    for is_whole, where in ((False, "the last layer"), (True, "every layer")):
        for setting, part in dead[(dead["max"] == 0) == is_whole].groupby("setting", observed=True):
            what = f"the gradient of {where} is exactly 0 in {_name_with_seeds(part)}"
            yield f"{describe_epoch(rows)}, {setting}: {what}."


def _name_with_seeds(rows: pd.DataFrame) -> str:
    """Return "residual-56 (3 seeds), residual-110 (seed 1)"."""
    nets = rows.groupby(["net", "depth"], observed=True)
    return ", ".join(f"{name_nets(str(net), set(each.depth))} ({count_seeds(each)})" for (net, _), each in nets)


def _describe_gradient(net: str, sizes: pd.DataFrame, rows: pd.DataFrame) -> str:
    """Return what depth does to the gradients of one net, with the numbers that show it."""
    verdict, column = judge(sizes)
    every, numbers = rows.seed.nunique(), []
    for _, part in sizes.groupby("depth"):
        some = f" ({count_seeds(part)})" if part.seed.nunique() < every else ""
        numbers.append(format_number(geometric_mean(part[column])) + some)
    what = "first / last layer's gradient" if column == "ratio" else "mean gradient of the layers"
    return f"{name_nets(net, sizes.depth)} {what} {', '.join(numbers)} ({verdict})"


def _per_net(rows: pd.DataFrame, column: str, mean: Callable[..., float]) -> str:
    """Return "at 20, 56 layers: plain 2.2, 399; residual 0.6, 1.9": means over seeds."""
    parts = []
    for net, part in rows.groupby("net", observed=True):
        means = part.groupby("depth")[column].agg(mean)
        parts.append((str(net), ", ".join(map(format_number, means)), f"at {', '.join(map(str, means.index))} layers"))
    if len({depths for *_, depths in parts}) == 1:
        return f"{parts[0][2]}: " + "; ".join(f"{net} {numbers}" for net, numbers, _ in parts)
    return "; ".join(f"{net} {depths}: {numbers}" for net, numbers, depths in parts)
