"""The size of nets, by formula: no net is built. Tests compare it with the nets."""

import math
from typing import NamedTuple

from resdepth.config.schema import ModelConfig
from resdepth.variants import VARIANTS

# Channels, height and width of an image.
Image = tuple[int, int, int]


class Stage(NamedTuple):
    """Blocks whose outputs have `width` channels (conv) or units (dense); the input of the first has `before`."""

    blocks: int
    before: int
    width: int


def stages(depth: int, model: ModelConfig) -> list[Stage]:
    """Return the stages of a net: its blocks of two layers, evenly divided, the first stages with those left over."""
    widths = _stage_widths(model)
    blocks, left_over = divmod((depth - 2) // 2, len(widths))
    before = (widths[0], *widths)
    return [Stage(blocks + (i < left_over), before[i], width) for i, width in enumerate(widths)]


def parameters(depth: int, variant: str, model: ModelConfig, image: Image, classes: int) -> int:
    """Count trained parameters: layers' weights, batch norm's scale and shift (or biases), projections, the classifier.

    A plain net has as many as the option-A residual net of its depth.
    """
    per_connection, inputs = _first_layer(model, image)
    per_channel = 2 if model.batch_norm else 1  # scale and shift, or a bias
    shortcut = model.shortcut if VARIANTS[variant].has_shortcut else "none"
    widths = _stage_widths(model)
    total = (per_connection * inputs + per_channel) * widths[0]
    for n, before, width in stages(depth, model):
        total += per_connection * (before * width + (2 * n - 1) * width * width) + 2 * n * per_channel * width
        if shortcut == "C" or (shortcut == "B" and before != width):
            total += (before + per_channel) * width
        if shortcut == "C":
            total += (n - 1) * (width + per_channel) * width
    return total + widths[-1] * classes + classes


def min_memory_bytes(
    depth: int, variant: str, model: ModelConfig, image: Image, classes: int, batch: int,
    *, half: bool, recomputed: bool = False,
) -> int:  # fmt: skip
    """Return the least bytes a training step holds: weights, gradients, momenta and the maps kept for backward.

    Of each layer the rectifier's output is kept and, with batch norm, its input, in bfloat16 with `half`; of each block
    of two layers only its input with `recomputed`.
    """
    maps = layer_outputs(depth, model, image)
    kept = maps // 2 if recomputed else maps * (2 if model.batch_norm else 1)
    weights = 3 * 4 * parameters(depth, variant, model, image, classes)
    return weights + batch * kept * (2 if half else 4)


def multiply_adds(depth: int, model: ModelConfig, image: Image, classes: int) -> int:
    """Return the multiply-adds of one image's forward pass through the layers and the classifier.

    The projections of shortcuts are not counted; in conv nets they add at most a few percent.
    """
    per_connection, inputs = _first_layer(model, image)
    widths, pixels = _stage_widths(model), _stage_pixels(model, image)
    total = per_connection * inputs * widths[0] * pixels[0]
    for (n, before, width), size in zip(stages(depth, model), pixels, strict=True):
        total += per_connection * (before + (2 * n - 1) * width) * width * size
    return total + widths[-1] * classes


def layer_outputs(depth: int, model: ModelConfig, image: Image) -> int:
    """Return the number of elements in the outputs of all layers but the classifier for one image."""
    sizes = stage_outputs(model, image)
    return sizes[0] + sum(2 * n * size for (n, _, _), size in zip(stages(depth, model), sizes, strict=True))


def stage_outputs(model: ModelConfig, image: Image) -> list[int]:
    """Return the number of elements in the output of a layer of each stage for one image."""
    return [w * p for w, p in zip(_stage_widths(model), _stage_pixels(model, image), strict=True)]


def _stage_widths(model: ModelConfig) -> list[int]:
    return model.widths if model.architecture == "dense" else [model.width * 2**stage for stage in range(3)]


def _stage_pixels(model: ModelConfig, image: Image) -> list[int]:
    """Return the pixels of each stage's maps: a conv net's second and third stage halve a side, rounded up."""
    if model.architecture == "dense":
        return [1] * len(model.widths)
    _, height, width = image
    return [math.ceil(height / 2**s) * math.ceil(width / 2**s) for s in range(3)]


def _first_layer(model: ModelConfig, image: Image) -> tuple[int, int]:
    """Return the weights per pair of input and output of a layer, and the inputs of the first: channels, or pixels."""
    return (1, math.prod(image)) if model.architecture == "dense" else (9, image[0])
