"""Final errors as a table of means over seeds, the best learning rates, and a verdict in one sentence."""

from typing import Any

import pandas as pd

from resdepth.report.comparison import LEARNING_RATE, Comparison, count, ended_runs, last_epochs, variants_in
from resdepth.report.paper import paper_test_error, reproduced_test_errors

_EQUAL = 1.0  # percentage points: two nets train equally well if their training errors differ by less
_HOPELESS = 50.0  # percent: a net does not train if its training error is higher


def summarise(comparison: Comparison) -> pd.DataFrame:
    """Return a row per variant and depth: final errors in percent, seconds per run, and published test errors.

    Errors are means and standard deviations over seeds. A run that is running, was stopped or failed appears in the
    note, and counts only if no run of that variant and depth has finished or diverged. A published error that does not
    apply is "".
    """
    finals, ended = last_epochs(comparison.rows), ended_runs(comparison.rows)
    rows = []
    for (variant, depth), all_runs in finals.groupby(["variant", "depth"], sort=False):
        runs = ended[(ended.variant == variant) & (ended.depth == depth)]
        first: dict[Any, Any] = runs.iloc[0].to_dict()
        row = {
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
            "note": ", ".join(f"{n} {s}" for s, n in all_runs.state.value_counts().items() if s != "finished"),
        }
        rows.append(row)
    return pd.DataFrame(rows)


def at_best_rate(comparison: Comparison) -> Comparison:
    """Keep, for each variant and depth, the runs at the learning rate with the lowest mean final training error.

    Ties are broken by the training loss. A rate with diverged runs is chosen only if every rate has some.
    """
    finals = ended_runs(comparison.rows).assign(has_diverged=lambda runs: runs.state == "diverged")
    net, order = ["variant", "depth"], ["has_diverged", "train_error", "train_loss"]
    means = finals.groupby([*net, LEARNING_RATE])[order].mean().reset_index()
    best = means.sort_values(order).drop_duplicates(net)[[*net, LEARNING_RATE]]
    return Comparison(comparison.experiment, comparison.keys, comparison.rows.merge(best, on=[*net, LEARNING_RATE]))


def best_rates(comparison: Comparison) -> pd.DataFrame:
    """Return `summarise` at the best learning rate of each variant and depth, with that rate in the column `lr`."""
    best = at_best_rate(comparison)
    rates = best.rows[["variant", "depth", LEARNING_RATE]].drop_duplicates()
    return summarise(best).merge(rates.rename(columns={LEARNING_RATE: "lr"}), on=["variant", "depth"])


def verdict(comparison: Comparison) -> str:
    """Compare, in one sentence, the final training error of each variant's deepest net with its shallowest.

    "plain: 110 layers train 89 points worse than 20 (89.1 % against 0.0 %); residual: no worse (0.0 % against 0.0 %)"
    """
    finals = ended_runs(comparison.rows)
    parts = [_verdict_on(variant, finals[finals.variant == variant]) for variant in variants_in(finals)]
    return f"{'; '.join(parts)}. [{comparison.title}]"


def _verdict_on(variant: str, finals: pd.DataFrame) -> str:
    means = finals.groupby("depth").train_error.mean()
    low, high = int(means.index.min()), int(means.index.max())
    unsure = "".join(
        f", {state}" for state in ("running", "stopped", "failed", "diverged") if state in set(finals.state)
    )
    if low == high:
        return f"{variant}: {low} layers train to {means[low]:.1f} %{unsure}"
    gap = means[high] - means[low]
    numbers = f"({means[high]:.1f} % against {means[low]:.1f} %{unsure})"
    if abs(gap) < _EQUAL:
        but = ", but neither trains" if means[low] > _HOPELESS else ""
        return f"{variant}: {high} layers train no worse than {low}{but} {numbers}"
    word = "worse" if gap > 0 else "better"
    return f"{variant}: {high} layers train {count(round(abs(gap)), 'point')} {word} than {low} {numbers}"
