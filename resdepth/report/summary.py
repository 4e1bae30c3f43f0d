"""What the results say: a table of means over seeds, the best rates, and a verdict in plain words."""

from collections.abc import Iterator
from typing import Any

import pandas as pd

from resdepth.report.comparison import LEARNING_RATE, Comparison, ended_runs, last_epochs, variants_in
from resdepth.report.paper import paper_test_error, reproduced_test_errors

# Percentage points of training error below which two nets are said to train equally well.
_EQUAL = 1.0
# Percent of training error above which a net is said not to train.
_HOPELESS = 50.0


def summarise(comparison: Comparison) -> pd.DataFrame:
    """A row per variant and depth: final errors (percent, mean and deviation over seeds), seconds, the paper's.

    Runs that have not ended with a result are noted, and counted only where no other run of the net has.
    """
    finals = last_epochs(comparison.rows)
    rows = []
    for variant in variants_in(finals):
        for depth, runs in finals[finals.variant == variant].groupby("depth"):
            rows.append(_summary_row(comparison, variant, int(str(depth)), runs))
    return pd.DataFrame(rows)


def _summary_row(comparison: Comparison, variant: str, depth: int, all_runs: pd.DataFrame) -> dict[str, Any]:
    note = ", ".join(f"{n} {s}" for s, n in all_runs.state.value_counts().items() if s != "finished")
    runs = ended_runs(comparison.rows[comparison.rows.run.isin(all_runs.run)])
    first = {str(k): v for k, v in runs.iloc[0].to_dict().items()}
    return {
        "experiment": comparison.experiment,
        "setting": comparison.label,
        "variant": variant,
        "depth": depth,
        "seeds": len(runs),
        "train_error": runs.train_error.mean(),
        "train_error_std": runs.train_error.std(ddof=1),
        "test_error": runs.test_error.mean(),
        "test_error_std": runs.test_error.std(ddof=1),
        "seconds": runs.seconds.mean(),
        "paper_test_error": paper_test_error(first),
        "reproduced_test_error": reproduced_test_errors(first),
        "note": note,
    }


def at_best_rate(comparison: Comparison) -> Comparison:
    """Of each variant and depth, the runs at the learning rate with the lowest mean final training error.

    Equal errors are told apart by the training loss; a rate at which a run diverged comes last.
    """
    finals = ended_runs(comparison.rows).assign(has_diverged=lambda runs: runs.state == "diverged")
    order = ["has_diverged", "train_error", "train_loss"]
    means = finals.groupby(["variant", "depth", LEARNING_RATE])[order].mean().reset_index()
    best = means.sort_values(order).drop_duplicates(["variant", "depth"])[["variant", "depth", LEARNING_RATE]]
    return Comparison(
        comparison.experiment, comparison.keys, comparison.rows.merge(best, on=["variant", "depth", LEARNING_RATE])
    )


def best_rates(comparison: Comparison) -> pd.DataFrame:
    """`summarise` at the best rate of each variant and depth, with that rate as `lr`."""
    best = at_best_rate(comparison)
    table = summarise(best)
    rates = best.rows.groupby(["variant", "depth"])[LEARNING_RATE].first()
    table.insert(4, "lr", [rates[(v, d)] for v, d in zip(table.variant, table.depth, strict=True)])
    return table


def verdict(comparison: Comparison) -> str:
    """One sentence: how much worse the deepest net trains than the shallowest, for each variant, with its numbers.

    "plain: 110 layers train 89 points worse than 20 (89.1 % against 0.0 %); residual: no worse (0.0 % against 0.0 %)"
    """
    parts = [part for variant in variants_in(comparison.rows) for part in _verdict_on(comparison, variant)]
    return f"{'; '.join(parts)}. [{comparison.title}]" if parts else ""


def _verdict_on(comparison: Comparison, variant: str) -> Iterator[str]:
    finals = ended_runs(comparison.rows)
    finals = finals[finals.variant == variant]
    means = finals.groupby("depth").train_error.mean()
    if means.empty:
        return
    low, high = int(means.index.min()), int(means.index.max())
    unsure = "".join(f", {state}" for state in ("running", "failed", "diverged") if state in set(finals.state))
    if low == high:
        yield f"{variant}: {low} layers train to {means[low]:.1f} %{unsure}"
        return
    gap = means[high] - means[low]
    numbers = f"({means[high]:.1f} % against {means[low]:.1f} %{unsure})"
    if abs(gap) < _EQUAL:
        but = ", but neither trains" if means[low] > _HOPELESS else ""
        yield f"{variant}: {high} layers train no worse than {low}{but} {numbers}"
    else:
        word = "worse" if gap > 0 else "better"
        yield f"{variant}: {high} layers train {abs(gap):.0f} points {word} than {low} {numbers}"
