"""Published test errors for comparison: percent, CIFAR-10, end of training."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from resdepth.config.keys import SHORTCUT_KEYS, identity
from resdepth.config.schema import RunConfig

# He et al. 2015, table 6; for 110 layers the mean of five runs (the best is 6.43).
_RESIDUAL = {20: "8.75", 32: "7.51", 44: "7.17", 56: "6.97", 110: "6.61", 1202: "7.93"}
# He et al. 2015, section 4.2 and figure 6 (left), read off the figure.
_PLAIN = {20: "9.7", 32: "10.1", 44: "11.5", 56: "13.3", 110: ">60"}
_TEST_ERROR = {"residual": _RESIDUAL, "plain": _PLAIN}
# Reproductions: a-martyn/resnet (last rows of its CSV files), akamaster/pytorch_resnet_cifar10,
# nabla0001/resnet (means of five runs), techxzen/pytorch-residual-networks, wooyeolBaek/deep-residual-learning.
_REPRODUCED: dict[str, dict[int, tuple[float, ...]]] = {
    "residual": {20: (8.04, 8.27, 8.51), 32: (7.37, 7.79), 44: (6.90, 7.51), 56: (6.61, 7.40, 7.46), 110: (6.32, 7.14)},
    "plain": {
        20: (9.69, 9.74, 9.78, 10.08),
        32: (10.04, 10.41, 11.15),
        44: (11.56, 11.73, 14.12),
        56: (11.86, 12.95, 13.07, 15.39),
    },
}
# Keys that may differ from the defaults: those compared above, names, when to evaluate, and the arithmetic's precision.
_FREE = (
    *("depth", "variant", "seed", "data.name", "data.source", "data.fingerprint", "data.classes"),
    *("model.name", "recipe.name"),
    *("recipe.eval_every", "recipe.eval_clean", "precision", "model.widths"),
)


def paper_test_error(run: Mapping[str, Any]) -> str:
    """Return the paper's test error in percent for this variant and depth, or "" if there is none.

    `run` maps columns of `load_results` to one run's values. The run must be finished, on CIFAR-10, and in all keys but
    `_FREE` the schema's defaults, which are the paper's recipe.
    """
    return _TEST_ERROR.get(run["variant"], {}).get(run["depth"], "") if _is_papers(run) else ""


def reproduced_test_errors(run: Mapping[str, Any]) -> str:
    """Return the range of test errors in percent that reproductions report, and their number; else "" as above."""
    found = _REPRODUCED.get(run["variant"], {}).get(run["depth"]) if _is_papers(run) else None
    return f"{min(found):.1f} to {max(found):.1f} ({len(found)})" if found else ""


def _is_papers(run: Mapping[str, Any]) -> bool:
    is_comparable = run["state"] == "finished" and run["dataset"] == "cifar10"
    return is_comparable and not any(_differs(run, key, value) for key, value in identity(RunConfig()).items())


def _differs(run: Mapping[str, Any], key: str, default: Any) -> bool:
    """Return whether the run has another value for the key; NaN stands for None or for a shortcut the variant lacks."""
    if key in _FREE or key not in run:
        return False
    value, expected = run[key], ",".join(map(str, default)) if isinstance(default, list) else default
    if pd.isna(value):
        return expected is not None and key not in SHORTCUT_KEYS
    return bool(value != expected)
