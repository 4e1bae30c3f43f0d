"""What the paper reports, to stand beside our own figures: test errors in percent, CIFAR-10, end of training."""

from collections.abc import Mapping
from typing import Any

from resdepth.config.keys import SHORTCUT_KEYS, identity
from resdepth.config.schema import RunConfig

# He et al. 2015, table 6; for 110 layers the mean of five runs (the best is 6.43).
_RESIDUAL = {20: "8.75", 32: "7.51", 44: "7.17", 56: "6.97", 110: "6.61", 1202: "7.93"}
# He et al. 2015, section 4.2 and figure 6 left, read off the figure.
_PLAIN = {20: "9.7", 32: "10.1", 44: "11.5", 56: "13.3", 110: ">60"}
_TEST_ERROR = {"residual": _RESIDUAL, "plain": _PLAIN}
# Published by others: a-martyn/resnet (last rows of its CSV files), akamaster/pytorch_resnet_cifar10,
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


# Keys that do not make it another experiment: where the test is taken, and how exactly the device computes.
_FREE = ("precision", "recipe.eval_every", "recipe.eval_clean")


def paper_test_error(run: Mapping[str, Any]) -> str | None:
    """The paper's figure for a net of this variant and depth; None where the run is not the paper's, or not finished.

    `run` maps columns of `load_results` to one run's values. Everything but the precision must be the schema's default,
    which is the paper's recipe, on CIFAR-10.
    """
    return _TEST_ERROR.get(run["variant"], {}).get(run["depth"]) if _is_papers(run) else None


def reproduced_test_errors(run: Mapping[str, Any]) -> str | None:
    """From the lowest to the highest that others found for this net, and how many did; None as in paper_test_error."""
    found = _REPRODUCED.get(run["variant"], {}).get(run["depth"]) if _is_papers(run) else None
    return f"{min(found):.1f} to {max(found):.1f} ({len(found)})" if found else None


def _is_papers(run: Mapping[str, Any]) -> bool:
    is_whole = run["state"] == "finished" and run["dataset"] == "cifar10"
    return is_whole and not any(_differs(run, key, value) for key, value in identity(RunConfig()).items())


def _differs(run: Mapping[str, Any], key: str, default: Any) -> bool:
    """Whether the run has the key and another value. A missing value (NaN) is None, or a shortcut that is not there."""
    told_by_columns = key in ("depth", "variant", "seed") or key.endswith((".name", ".source", ".fingerprint"))
    if told_by_columns or key in _FREE or key not in run:
        return False
    value = run[key]
    if isinstance(default, list):
        return bool(value != ",".join(str(part) for part in default))
    if value is None or value != value:  # noqa: PLR0124 - NaN
        return default is not None and key not in SHORTCUT_KEYS
    return bool(value != default)
