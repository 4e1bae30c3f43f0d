"""Stacks of layers trained to reproduce their input: how hard is the identity to learn?"""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from resdepth.config.schema import RunConfig
from resdepth.data.augment import draw_order
from resdepth.data.device_data import DeviceData
from resdepth.data.seeding import INITIALISATION, generator
from resdepth.models.build import initialise_net
from resdepth.models.net import Net
from resdepth.probes.insertion import make_block
from resdepth.probes.nets import ProbedNet
from resdepth.probes.rows import LearnIdentityRow
from resdepth.training.cuda import Stream
from resdepth.training.schedule import Schedule
from resdepth.training.sgd import SGD
from resdepth.training.step import Step


class Stack(Net):
    """The blocks of a net alone, all of one width: x (N, C, H, W), not negative -> (N, C H W), or (N, width, H, W).

    A dense stack is as wide as the image has pixels; a conv stack gets the image's
    channels, repeated or cut to its width.
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
    config = probed.config
    net = Stack(config, data)
    initialise_net(net, config.variant, config.model, generator(config.seed, INITIALISATION))
    net = net.to(data.mean.device)

    def reconstruction(outputs: Tensor, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        wanted = net.prepare(images)
        return (outputs - wanted).square().sum() / wanted.square().sum(), torch.zeros_like(labels[0])

    recipe = config.recipe
    schedule = Schedule.of(recipe, len(data.train))
    optimiser, stream = SGD(net, recipe, data.mean.device), Stream(data.mean.device)
    step = Step(net, data, optimiser, schedule, stream, is_captured=False, objective=reconstruction)
    losses = []
    for epoch in range(1, schedule.epochs + 1):
        rates = schedule.rates(epoch)
        order = draw_order(config.seed, epoch, len(data.train), schedule.batch_size, len(rates), 0, flip=False)
        step.begin_epoch(order, rates)
        for number in range(len(rates)):
            step()
            if epoch == 1 and number == 0:
                losses.append(step.epoch_metrics()[0])
        losses.append(step.epoch_metrics()[0])
    yield LearnIdentityRow(
        **probed.columns, layers=config.depth - 2, error_before=100 * losses[0], error=100 * losses[-1]
    )
