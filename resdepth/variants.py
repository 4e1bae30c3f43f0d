"""The variants of a net that are compared, one table entry each.

An entry defines how a block of two layers joins its output z[l+2] with its input a[l] before the nonlinearity g (ReLU).
He et al. 2015, equation 1:

    plain       a[l+2] = g(z[l+2])
    residual    a[l+2] = g(z[l+2] + a[l])

Every entry can be swept and appears in the CSV, the figures and the summary. `z` and `a` are tensors of one shape
(N, C, H, W); no torch is needed to name arithmetic on them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Variant:
    """How a block joins its output with its input.

    `join` maps z[l+2] and the shortcut's output, both (N, C, H, W), to the argument of g. With `has_shortcut`, the
    block's input is brought to the shape of its output (options A, B, C).
    """

    join: Callable[[Any, Any], Any]
    has_shortcut: bool


def only_z(z: Any, _a: Any) -> Any:
    """Plain: a[l+2] = g(z[l+2])."""
    return z


def z_plus_a(z: Any, a: Any) -> Any:
    """Residual: a[l+2] = g(z[l+2] + a[l])."""
    return z + a


VARIANTS: dict[str, Variant] = {
    "plain": Variant(only_z, has_shortcut=False),
    "residual": Variant(z_plus_a, has_shortcut=True),
}
