"""Where weight decay pulls a block to the identity: the branch against the shortcut, and what makes its size."""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from resdepth.data.device_data import DeviceData
from resdepth.models.batch_norm import BatchNorm
from resdepth.models.net import Block
from resdepth.probes.nets import ProbedNet, errors, sample
from resdepth.probes.rows import DecayRow

_IMAGES = 512


@torch.no_grad()
def measure(probed: ProbedNet, data: DeviceData) -> Iterator[DecayRow]:
    """Yield a row per block, in evaluation mode.

    |F(x)| / |x| is the norm of z[l+2] over that of the shortcut's output, of each image; NaN where a plain net's block
    changes the shape. Under batch norm the size of W cancels out: its decay cannot shrink F directly, but
    changes the effective learning rate (van Laarhoven 2017); decay of batch norm's scale can shrink F.
    """
    net, recipe = probed.build(data).eval(), probed.config.recipe
    images, labels = sample(data, _IMAGES)
    error = errors(net(images), labels)
    a = net.enter(images)
    for number, block in enumerate(net.blocks, start=1):
        assert isinstance(block, Block)
        a = block.downsample(a)
        z, x = block.branch(block.hidden(a)), block.shortcut(a)
        norms = [norm for norm in (block.norm1, block.norm2) if isinstance(norm, BatchNorm)]
        layers = [block.layer1, block.layer2]
        yield DecayRow(
            **probed.columns,
            weight_decay=recipe.weight_decay,
            decay_bias=recipe.decay_bias,
            decay_bn=recipe.decay_bn,
            block=number,
            branch_ratio=_ratio(z, x),
            weight_norm=_norm(layer.weight for layer in layers),  # type: ignore[misc]
            bias_norm=_norm(module.bias for module in (norms or layers)),  # type: ignore[misc]
            bn_scale=torch.cat([norm.weight for norm in norms]).square().mean().sqrt().item()
            if norms
            else float("nan"),
            error=error,
        )
        a = block.output(a, z)


def _ratio(z: Tensor, x: Tensor) -> float:
    """Return the mean over images of |z| / |x|; of those whose x is not zero."""
    if z.shape != x.shape:
        return float("nan")
    above, below = z.flatten(1).norm(dim=1), x.flatten(1).norm(dim=1)
    return (above[below > 0] / below[below > 0]).mean().item()


def _norm(tensors: Iterable[Tensor]) -> float:
    return torch.cat([tensor.flatten() for tensor in tensors]).norm().item()
