"""The variants of a net that are compared, one table entry each.

An entry defines how a block of two layers joins its output z[l+2] with its input a[l] before the nonlinearity g (ReLU).
He et al. 2015, equation 1:

    plain       a[l+2] = g(z[l+2])
    residual    a[l+2] = g(z[l+2] + a[l])

Every entry can be swept and appears in the CSV, the figures and the summary. `z` and `a` are tensors of one shape,
(N, C, H, W) or (N, C); no torch is needed to name arithmetic on them. `--plugin FILE` adds entries of a user's own.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Variant:
    """How a block joins its output with its input.

    `join` maps z[l+2] and the shortcut's output, both (N, C, H, W) or (N, C), to the argument of g, of the same shape.
    With `has_shortcut`, the block's input is brought to the shape of its output (options A, B, C); without, `join` gets
    the block's input as it is and must not use it. `plugin` is filled in by the program: the SHA-256 of the user's file
    that defines the variant.
    """

    join: Callable[[Any, Any], Any]
    has_shortcut: bool
    plugin: str = ""


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
