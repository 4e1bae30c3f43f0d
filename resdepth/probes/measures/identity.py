"""Blocks inserted into a trained net at every place: those of zero weights, and identity layers."""

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from resdepth.data.device_data import DeviceData
from resdepth.models.net import Net
from resdepth.probes.measures.insertion import activations, channels_at, dirac_block, zero_block
from resdepth.probes.nets import ProbedNet, errors, sample
from resdepth.probes.rows import IdentityRow
from resdepth.variants import VARIANTS

_IMAGES = 512


@torch.no_grad()
def measure(probed: ProbedNet, data: DeviceData, blocks: Sequence[int]) -> Iterator[IdentityRow]:
    """Yield a row per place, kind of block and number of blocks, in evaluation mode.

    A block of zero weights computes g(0 + a[l]) = a[l] in a residual net and g(0) in a plain one (He et al. 2015,
    section 3.1). Identity layers are inserted into nets without shortcuts: they are a solution of the deeper net.
    """
    net = probed.build(data).eval()
    model, variant = probed.config.model, probed.config.variant
    images, labels = sample(data, _IMAGES)
    places = activations(net, images)
    before = net.classifier(net.features(places[-1]))
    makers = {"zero": zero_block} | ({} if VARIANTS[variant].has_shortcut else {"dirac": dirac_block})
    for place, a in enumerate(places):
        for kind, make in makers.items():
            inserted = make(model, variant, channels_at(net, place)).to(a.device).eval()
            for count in blocks:
                logits = _continue(net, place, _repeat(inserted, count, a))
                yield IdentityRow(
                    **probed.columns,
                    place=place,
                    blocks=count,
                    kind=kind,
                    logit_change=(logits - before).abs().max().item(),
                    logit_scale=before.abs().max().item(),
                    error=errors(logits, labels),
                    error_before=errors(before, labels),
                )


def _repeat(block: torch.nn.Module, count: int, a: Tensor) -> Tensor:
    for _ in range(count):
        a = block(a)
    return a


def _continue(net: Net, place: int, a: Tensor) -> Tensor:
    """Return the logits of the activations after `place` blocks."""
    for block in list(net.blocks)[place:]:
        a = block(a)
    return net.classifier(net.features(a))
