"""Stacks of layers trained to reproduce their input: how hard is the identity to learn?"""

import contextlib
from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor, nn

from resdepth.config.schema import RunConfig
from resdepth.data.device_data import DeviceData
from resdepth.data.seeding import INITIALISATION, generator
from resdepth.models.build import initialise_net
from resdepth.models.net import Net
from resdepth.probes.measures.insertion import make_block
from resdepth.probes.nets import ProbedNet
from resdepth.probes.rows import LearnIdentityRow
from resdepth.training.trainer import Trainer


class Stack(Net):
    """The blocks of a net alone, all of one width: x (N, C, H, W), not negative -> (N, C H W), or (N, width, H, W).

    A dense stack is as wide as the image has pixels; a conv stack gets the image's channels, repeated or cut to its
    width.
    """

    def __init__(self, config: RunConfig, data: DeviceData) -> None:
        self.is_dense = config.model.architecture == "dense"
        channels, height, width = data.image
        self.width = channels * height * width if self.is_dense else config.model.width
        blocks = [make_block(config.model, config.variant, self.width) for _ in range((config.depth - 2) // 2)]
        super().__init__((nn.Identity(), nn.Identity()), blocks, nn.Identity())

    def prepare(self, x: Tensor) -> Tensor:
        if self.is_dense:
            return x.flatten(1)
        return x.repeat(1, -(-self.width // x.shape[1]), 1, 1)[:, : self.width]

    def features(self, a: Tensor) -> Tensor:
        return a


def measure(probed: ProbedNet, data: DeviceData) -> Iterator[LearnIdentityRow]:
    """Yield one row: the errors of a stack of depth - 2 layers, of the first minibatch and after its training.

    The recipe gives rate, length, minibatch, momentum and decay; there is no warm-up, and the arithmetic is float32.
    """
    recipe = replace(probed.config.recipe, pad=0, flip=False, warmup_lr=None)
    config = replace(probed.config, recipe=recipe, precision="fp32")
    net = Stack(config, data)
    initialise_net(net, config.variant, config.model, generator(config.seed, INITIALISATION))

    def reconstruction(outputs: Tensor, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        wanted = net.prepare(images)
        return (outputs - wanted).square().sum() / wanted.square().sum(), torch.zeros_like(labels[0])

    losses = []

    def keep_first(iteration: int) -> None:
        if iteration == 1:
            losses.append(trainer.step.epoch_metrics()[0])

    with contextlib.closing(Trainer(config, data, net=net, objective=reconstruction)) as trainer:
        losses += [record.train_loss for record in trainer.epochs(keep_first)]
    yield LearnIdentityRow(
        **probed.columns,
        layers=config.depth - 2,
        epochs=trainer.epoch,
        error_before=100 * losses[0],
        error=100 * losses[-1],
    )
