"""The variants of a net that are compared: one entry in one table each.

An entry says how a block of two layers joins its own output z[l+2] with its input a[l], before the nonlinearity g
(He et al. 2015, equation 1; g is ReLU):

    plain       a[l+2] = g(z[l+2])
    residual    a[l+2] = g(z[l+2] + a[l])

Whatever is entered here can be swept, and has its column entries, its panel in the figures and its rows in the summary.
`z` and `a` are tensors of one shape (N, C, H, W); this room only names arithmetic on them and needs no torch.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Join = Callable[[Any, Any], Any]


@dataclass(frozen=True)
class Variant:
    """One way to join a block's output and its input.

    `join` maps z[l+2] and the shortcut's output, both (N, C, H, W), to the argument of g.
    `has_shortcut` says whether the block needs its input brought to the shape of its output (options A, B, C).
    """

    title: str
    join: Join
    has_shortcut: bool


def only_z(z: Any, _a: Any) -> Any:
    """A plain block forgets its input: a[l+2] = g(z[l+2])."""
    return z


def z_plus_a(z: Any, a: Any) -> Any:
    """A residual block adds its input back: a[l+2] = g(z[l+2] + a[l]). He et al. 2015, equation 1."""
    return z + a


VARIANTS: dict[str, Variant] = {
    "plain": Variant("plain", only_z, has_shortcut=False),
    "residual": Variant("residual", z_plus_a, has_shortcut=True),
}
