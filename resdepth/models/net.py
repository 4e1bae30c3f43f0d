"""What all nets share: a first layer, blocks of two layers, joined with their inputs by a variant, and a classifier.

A conv net and a dense net differ in what a layer is: a 3x3 convolution, or a matrix.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resdepth.variants import Variant

# A weighted layer and its batch norm, which is the identity in a net without batch norm.
Layer = tuple[nn.Module, nn.Module]


@torch.no_grad()
def copy_tensors(target: Mapping[str, Tensor], source: Mapping[str, Tensor]) -> None:
    """Copy named tensors in place: a captured graph uses their addresses. Raises ValueError where they do not fit."""
    if target.keys() != source.keys() or any(target[name].shape != source[name].shape for name in target):
        raise ValueError("the tensors differ in name or shape")
    for name, tensor in target.items():
        tensor.copy_(source[name])


class Block(nn.Module):
    """Two layers: a[l+2] = g(join(z[l+2], a[l])), where join is z + a in a residual net and z in a plain one.

    a[l] (N, C, H, W) or (N, C) -> a[l+2] of the second layer's shape. `downsample` comes before both branches;
    `shortcut` brings a[l] to the shape of z[l+2]. He et al. 2015, equations 1 and 2, figure 2.
    """

    def __init__(
        self, first: Layer, second: Layer, shortcut: nn.Module, variant: Variant, downsample: nn.Module | None = None
    ) -> None:
        super().__init__()
        self.downsample = downsample or nn.Identity()
        self.layer1, self.norm1 = first
        self.layer2, self.norm2 = second
        self.shortcut = shortcut
        self.join = variant.join

    def forward(self, a: Tensor) -> Tensor:
        a = self.downsample(a)
        return self.output(a, self.branch(self.hidden(a)))

    def hidden(self, a: Tensor) -> Tensor:
        """Return a[l+1] of the input a[l], downsampled."""
        # In place where nothing else uses the rectifier's input.
        return F.relu(self.norm1(self.layer1(a)), inplace=True)

    def branch(self, hidden: Tensor) -> Tensor:
        """Return z[l+2] of a[l+1]: the function F of equation 1."""
        return self.norm2(self.layer2(hidden))

    def output(self, a: Tensor, z: Tensor) -> Tensor:
        """Return a[l+2] of a[l], downsampled, and z[l+2]."""
        return F.relu(self.join(z, self.shortcut(a)))


class Net(nn.Module):
    """A first layer, blocks, and a linear classifier of `features(a)`, the last block's output as (N, features).

    x (N, C, H, W) float -> logits (N, classes). The layers may be bfloat16; the classifier and logits stay float32.
    """

    def __init__(self, first: Layer, blocks: Iterable[Block], classifier: nn.Module) -> None:
        super().__init__()
        self.layer, self.norm = first
        self.blocks = nn.ModuleList(blocks)
        self.classifier = classifier
        # Runs a block during training; an engine replaces it to compile blocks or to recompute them in backward.
        self.call_block: Callable[[Block, Tensor], Tensor] = Block.__call__
        # Memory format of the maps; the weights have the same.
        self.memory_format = torch.contiguous_format

    def forward(self, x: Tensor) -> Tensor:
        a = self.enter(x)
        for block in self.blocks:
            a = self.call_block(block, a) if self.training else block(a)  # type: ignore[arg-type]
        return self.classifier(self.features(a))

    def trace(self, x: Tensor) -> Iterator[tuple[nn.Module, Tensor]]:
        """Yield each of the `depth` weighted layers with its output after the nonlinearity; last the logits.

        The second layer of a block comes with a[l+2], so with its join.
        """
        a = self.enter(x)
        yield self.layer, a
        for block in self.blocks:
            assert isinstance(block, Block)
            a = block.downsample(a)
            hidden = block.hidden(a)
            yield block.layer1, hidden
            a = block.output(a, block.branch(hidden))
            yield block.layer2, a
        yield self.classifier, self.classifier(self.features(a))

    def prepare(self, x: Tensor) -> Tensor:
        """Bring images (N, C, H, W) into the form of the first layer's input."""
        raise NotImplementedError

    def features(self, a: Tensor) -> Tensor:
        """Return the classifier's input, (N, features) in its type."""
        raise NotImplementedError

    def enter(self, x: Tensor) -> Tensor:
        """Return a[1], the first layer's output."""
        return F.relu(self.norm(self.layer(self.prepare(x))), inplace=True)
