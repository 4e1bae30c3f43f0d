"""The figures of an experiment, drawn from its runs' CSV files. Needs neither torch nor a display.

training          training error against epochs: a panel per variant, nets named at their lines' ends, the gap marked
curves            as in He et al. 2015, figure 6: a panel per variant, training dashed, test bold, a line per depth
depth             final training error against depth, for each variant and seed, if there are several depths
rates             final training error against the learning rate, if the experiment varies it
depth_best_rate   the same as depth, for each variant and depth at its best rate

An experiment with several settings gives the same figures, with a panel for each setting.
"""

from collections.abc import Iterator
from itertools import groupby

import matplotlib
import pandas as pd
from matplotlib.figure import Figure

from resdepth.report.comparison import Comparison, comparisons, rate_sweeps, variants_in
from resdepth.report.figures.curves import draw_curves, draw_training
from resdepth.report.figures.finals import draw_depth, draw_rates
from resdepth.report.figures.grid import divide
from resdepth.report.figures.lines import LARGE
from resdepth.report.figures.metric import Metric
from resdepth.report.summary import at_best_rate

METRICS = {
    "both": Metric("train_error", ("train_error", "test_error"), "", ""),
    "train": Metric("train_error", ("train_error",), "", "_train"),
    "test": Metric("test_error", ("test_error",), "_test", "_test"),
    "loss": Metric("train_loss", ("train_loss", "test_loss"), "_loss", "_loss"),
    "clean": Metric("train_error_clean", ("train_error_clean", "test_error"), "_clean", "_clean"),
}


def draw(table: pd.DataFrame, metric: str = "both", x: str = "epoch") -> Iterator[tuple[str, str, Figure]]:
    """Yield (experiment, file name without extension, figure) of every figure; `x` is the axis of the curves."""
    chosen, by = METRICS[metric], "" if x == "epoch" else f"_by_{x}"
    swept = {name: list(found) for name, found in groupby(rate_sweeps(table), key=_experiment)}
    with matplotlib.rc_context(LARGE):
        for name, found in groupby(comparisons(table), key=_experiment):
            compared = list(found)
            several = len(variants_in(pd.concat([c.rows[["variant"]] for c in compared])))
            for settings in divide(compared, several):
                yield name, f"training{chosen.suffix}{by}{settings.suffix}", draw_training(settings, chosen, x)
                yield name, f"curves{chosen.curves_suffix}{by}{settings.suffix}", draw_curves(settings, chosen, x)
            yield from _depths(compared, chosen)
            if name in swept:
                for settings in divide(swept[name], several):
                    yield name, f"rates{chosen.suffix}{settings.suffix}", draw_rates(settings, chosen)
                best = [at_best_rate(comparison) for comparison in swept[name]]
                yield from _depths(best, chosen, "_best_rate", " at each net's best rate")


def _experiment(comparison: Comparison) -> str:
    return comparison.experiment


def _depths(
    compared: list[Comparison], metric: Metric, kind: str = "", at: str = ""
) -> Iterator[tuple[str, str, Figure]]:
    """Yield the figures against depth of an experiment with several depths."""
    if pd.concat([comparison.rows["depth"] for comparison in compared]).nunique() > 1:
        for settings in divide(compared, 1):
            name = f"depth{kind}{metric.suffix}{settings.suffix}"
            yield compared[0].experiment, name, draw_depth(settings, metric, at)
