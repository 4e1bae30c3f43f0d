"""What the paper reports, to stand beside our own figures: test errors in percent, CIFAR-10, end of training."""

from collections.abc import Mapping
from typing import Any

# He et al. 2015, table 6; for 110 layers the mean of five runs (the best is 6.43).
_RESIDUAL = {20: 8.75, 32: 7.51, 44: 7.17, 56: 6.97, 110: 6.61, 1202: 7.93}
# He et al. 2015, figure 6 left, read off the figure; the plain net of 110 layers stays above 60 and has no figure.
_PLAIN = {20: 9.7, 32: 10.1, 44: 11.5, 56: 13.3}
_TEST_ERROR = {"residual": _RESIDUAL, "plain": _PLAIN}


def paper_test_error(run: Mapping[str, Any]) -> float | None:
    """The paper's figure for a net of this variant and depth, or None where the run is not the paper's experiment.

    `run` maps columns of `load_results` to one run's values: data, recipe, length and shortcut must be the paper's.
    """
    is_papers = (
        run["dataset"] == "cifar10"
        and run.get("recipe.name") == "cifar10"
        and run.get("recipe.iterations") == 64_000
        and run["shortcut"] in ("A", "none")
    )
    return _TEST_ERROR.get(run["variant"], {}).get(run["depth"]) if is_papers else None
