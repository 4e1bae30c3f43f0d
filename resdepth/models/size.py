"""The size of conv nets, by formula: no net is built. Tests compare it with the nets."""

from resdepth.config.schema import ModelConfig
from resdepth.variants import VARIANTS


def blocks_per_stage(depth: int) -> int:
    """Return n of 6n+2 layers: each of three stages has n blocks of two layers. He et al. 2015, section 4.2."""
    return (depth - 2) // 6


def parameters(depth: int, variant: str, model: ModelConfig, channels: int, classes: int) -> int:
    """Count trained parameters: conv weights, batch norm's scale and shift (or biases), projections, the classifier.

    A plain net has as many as the option-A residual net of its depth.
    """
    n, widths = blocks_per_stage(depth), (model.width, 2 * model.width, 4 * model.width)
    per_channel = 2 if model.batch_norm else 1  # scale and shift, or a bias
    total = 9 * channels * widths[0] + per_channel * widths[0]
    before = widths[0]
    for width in widths:
        total += 9 * before * width + (2 * n - 1) * 9 * width * width + 2 * n * per_channel * width
        total += _projections(n, before, width, model, variant, per_channel)
        before = width
    return total + widths[2] * classes + classes


def _projections(n: int, before: int, width: int, model: ModelConfig, variant: str, per_channel: int) -> int:
    if not VARIANTS[variant].has_shortcut or model.shortcut == "A":
        return 0
    first = (before + per_channel) * width if model.shortcut == "C" or before != width else 0
    others = (n - 1) * (width + per_channel) * width if model.shortcut == "C" else 0
    return first + others


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
    n, filters, before = blocks_per_stage(depth), model.width, model.width
    total = 9 * channels * filters * height * width
    for stage in range(3):
        filters = model.width * 2**stage
        if stage:
            height, width = (height + 1) // 2, (width + 1) // 2
        total += 9 * (before + (2 * n - 1) * filters) * filters * height * width
        before = filters
    return total + filters * classes


def conv_outputs(depth: int, model: ModelConfig, height: int, width: int) -> int:
    """Return the number of elements in the outputs of all 3x3 convolutions for one image."""
    n, total = blocks_per_stage(depth), model.width * height * width
    for stage in range(3):
        if stage:
            height, width = (height + 1) // 2, (width + 1) // 2
        total += 2 * n * model.width * 2**stage * height * width
    return total
