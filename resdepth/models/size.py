"""The size of conv nets, by formula: no net is built. Tests compare it with the nets."""

import math

from resdepth.config.schema import ModelConfig
from resdepth.variants import VARIANTS


def blocks_per_stage(depth: int) -> int:
    """Return n of 6n+2 layers: each of three stages has n blocks of two layers. He et al. 2015, section 4.2."""
    return (depth - 2) // 6


def parameters(depth: int, variant: str, model: ModelConfig, channels: int, classes: int) -> int:
    """Count trained parameters: conv weights, batch norm's scale and shift (or biases), projections, the classifier.

    A plain net has as many as the option-A residual net of its depth.
    """
    n, before = blocks_per_stage(depth), model.width
    per_channel = 2 if model.batch_norm else 1  # scale and shift, or a bias
    shortcut = model.shortcut if VARIANTS[variant].has_shortcut else "none"
    total = (9 * channels + per_channel) * before
    for width in (model.width, 2 * model.width, 4 * model.width):
        total += 9 * before * width + (2 * n - 1) * 9 * width * width + 2 * n * per_channel * width
        if shortcut == "C" or (shortcut == "B" and before != width):
            total += (before + per_channel) * width
        if shortcut == "C":
            total += (n - 1) * (width + per_channel) * width
        before = width
    return total + before * classes + classes


def min_memory_bytes(
    depth: int, variant: str, model: ModelConfig, channels: int, height: int, width: int, classes: int, batch: int,
    *, half: bool, recomputed: bool = False,
) -> int:  # fmt: skip
    """Return the least bytes a training step holds: weights, gradients, momenta and the maps kept for backward.

    Of each layer the rectifier's output is kept and, with batch norm, its input, in bfloat16 with `half`; of each block
    of two layers only its input with `recomputed`.
    """
    maps = conv_outputs(depth, model, height, width)
    kept = maps // 2 if recomputed else maps * (2 if model.batch_norm else 1)
    weights = 3 * 4 * parameters(depth, variant, model, channels, classes)
    return weights + batch * kept * (2 if half else 4)


def multiply_adds(depth: int, model: ModelConfig, channels: int, height: int, width: int, classes: int) -> int:
    """Return the multiply-adds of one image's forward pass through the 3x3 convolutions and the classifier.

    The projections of shortcuts are not counted; they add at most a few percent.
    """
    n, before = blocks_per_stage(depth), model.width
    total = 9 * channels * before * height * width
    for filters, pixels in _stages(model, height, width):
        total += 9 * (before + (2 * n - 1) * filters) * filters * pixels
        before = filters
    return total + before * classes


def conv_outputs(depth: int, model: ModelConfig, height: int, width: int) -> int:
    """Return the number of elements in the outputs of all 3x3 convolutions for one image."""
    blocks = sum(2 * blocks_per_stage(depth) * filters * pixels for filters, pixels in _stages(model, height, width))
    return model.width * height * width + blocks


def _stages(model: ModelConfig, height: int, width: int) -> list[tuple[int, int]]:
    """Return the channels and the pixels of each stage's maps: the second and third stage halve a side, rounded up."""
    return [(model.width * 2**s, math.ceil(height / 2**s) * math.ceil(width / 2**s)) for s in range(3)]
