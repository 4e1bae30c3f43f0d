"""Fully connected nets, plain and residual, from the equations: a layer is z[l+1] = W[l+1] a[l] + b[l+1].

A block of two layers computes a[l+2] = g(W[l+2] a[l+1] + b[l+2] + Ws a[l]), g = ReLU; a plain one leaves out the last
term. He et al. 2015, equation 2.
"""

from torch import Tensor, nn

from resdepth.config.schema import ModelConfig
from resdepth.models.batch_norm import BatchNorm
from resdepth.models.net import Block, Layer, Net
from resdepth.models.shortcuts import PadOrTruncate, build_shortcut
from resdepth.models.size import stages
from resdepth.variants import Variant


class FullyConnectedNet(Net):
    """A layer of the image's pixels, a stage of blocks for each of `model.widths`, a classifier.

    x (N, C, H, W) float -> logits (N, classes). `pixels` is C H W.
    """

    def __init__(self, depth: int, variant: Variant, model: ModelConfig, pixels: int, classes: int) -> None:
        blocks = []
        for stage in stages(depth, model):
            blocks.append(dense_block(stage.before, stage.width, model, variant))
            blocks += [dense_block(stage.width, stage.width, model, variant) for _ in range(stage.blocks - 1)]
        first, last = model.widths[0], model.widths[-1]
        super().__init__(_layer(pixels, first, model), blocks, nn.Linear(last, classes))

    def prepare(self, x: Tensor) -> Tensor:
        return x.to(self.layer.weight.dtype).flatten(1)  # type: ignore[arg-type]

    def features(self, a: Tensor) -> Tensor:
        return a.to(self.classifier.weight.dtype)  # type: ignore[arg-type]


def dense_block(inputs: int, outputs: int, model: ModelConfig, variant: Variant) -> Block:
    """Return a block of two layers: (N, inputs) -> (N, outputs)."""
    shortcut: nn.Module = nn.Identity()
    if variant.has_shortcut:
        shortcut = build_shortcut(
            model.shortcut,
            lambda: PadOrTruncate(inputs, outputs),
            lambda: nn.Sequential(*_layer(inputs, outputs, model)),
            changes_shape=inputs != outputs,
        )
    return Block(_layer(inputs, outputs, model), _layer(outputs, outputs, model), shortcut, variant)


def _layer(inputs: int, outputs: int, model: ModelConfig) -> Layer:
    """Return a matrix and its batch norm; without batch norm the layer has a bias."""
    linear = nn.Linear(inputs, outputs, bias=not model.batch_norm)
    return linear, BatchNorm(outputs) if model.batch_norm else nn.Identity()
