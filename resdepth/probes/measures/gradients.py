"""Gradients and activations at every layer, on one minibatch in training mode."""

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from resdepth.data.device_data import DeviceData
from resdepth.models.batch_norm import BatchNorm
from resdepth.models.net import Net
from resdepth.probes.nets import ProbedNet, sample
from resdepth.probes.rows import GradientRow

_IMAGES = 128  # the paper's minibatch
_STEP = 0.1  # from an image to another


def measure(probed: ProbedNet, data: DeviceData) -> Iterator[GradientRow]:
    """Yield a row per layer, from the image (0) to the classifier.

    The norms are computed in float64, where the device has it: a deep plain net with batch norm amplifies rounding.

    The correlations are those of Balduzzi et al. 2017, section 2, of gradients of v . logits with respect to a layer's
    output, v a fixed random direction. They are 1 where the gradient does not depend on the image, and 0 where
    gradients are as unrelated as white noise, which Balduzzi et al. call shattered.
    """
    net = probed.build(data).train()
    images, labels = sample(data, _IMAGES)
    if images.device.type != "mps":
        net, images = net.double(), images.double()
    images.requires_grad_()
    layers, outputs = zip(*net.trace(images), strict=True)
    nodes, weights = [images, *outputs], [layer.weight for layer in layers]
    loss = F.cross_entropy(outputs[-1], labels)
    found = torch.autograd.grad(loss, [*weights, *nodes])
    by_weight, by_node = found[: len(weights)], found[len(weights) :]
    directed = _directed_gradients(net.float(), images.detach().float())
    for layer, node in enumerate(nodes):
        yield GradientRow(
            **probed.columns,
            layer=layer,
            weight_gradient=by_weight[layer - 1].norm().item() if layer else float("nan"),
            activation=_rms(node),
            activation_gradient=_rms(by_node[layer]),
            correlation=mean_cosine(directed[layer][: len(images)]),
            neighbour_correlation=paired_cosine(*directed[layer].chunk(2)),
        )


def _directed_gradients(net: Net, images: Tensor) -> list[Tensor]:
    """Return the gradients of one direction of the logits with respect to images and layers' outputs.

    (2N, ...) each: of the N images, and of the points a tenth of the way from each to the next. Batch norm uses the
    statistics of the N images as constants: through a batch's own statistics the gradients of its images sum to zero.
    """
    for module in net.modules():
        if isinstance(module, BatchNorm):
            module.momentum = 1.0
    with torch.no_grad():
        net.train()(images)
    near = images + _STEP * (images.roll(1, dims=0) - images)
    both = torch.cat([images, near]).requires_grad_()
    outputs = [output for _, output in net.eval().trace(both)]
    direction = torch.randn(outputs[-1].shape[1], generator=torch.Generator().manual_seed(0)).to(images)
    return [*torch.autograd.grad((outputs[-1] @ direction).sum(), [both, *outputs])]


def paired_cosine(first: Tensor, second: Tensor) -> float:
    """Return the mean cosine of first[i] and second[i], (N, ...) each, of the pairs without a zero; NaN without any."""
    a, b = first.flatten(1).double(), second.flatten(1).double()
    kept = (a.norm(dim=1) > 0) & (b.norm(dim=1) > 0)
    return F.cosine_similarity(a[kept], b[kept], eps=0.0).mean().item()


def mean_cosine(vectors: Tensor) -> float:
    """Return the mean cosine over all pairs of different vectors (N, ...) that are not zero; NaN without a pair."""
    flat = vectors.flatten(1).double()
    flat = flat[flat.norm(dim=1) > 0]
    count = len(flat)
    if count < 2:
        return float("nan")
    total = F.normalize(flat, eps=0.0).sum(dim=0).square().sum().item()
    return (total - count) / (count * (count - 1))


def _rms(values: Tensor) -> float:
    return values.detach().double().square().mean().sqrt().item()
