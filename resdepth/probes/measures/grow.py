"""Trained nets that go on training, as they are and with blocks added that change nothing at first."""

import contextlib
import copy
from collections.abc import Iterator
from dataclasses import replace

import torch

from resdepth.data.device_data import DeviceData
from resdepth.data.seeding import generator
from resdepth.models.net import Block, Net
from resdepth.probes.measures import insertion
from resdepth.probes.nets import ProbedNet, sample
from resdepth.probes.rows import GrowRow
from resdepth.training.cuda import Stream
from resdepth.training.evaluation import Evaluation
from resdepth.training.trainer import Trainer
from resdepth.variants import VARIANTS

_IMAGES = 512  # of which batch norm's statistics at an added layer are taken


def measure(probed: ProbedNet, data: DeviceData, blocks: int, epochs: int) -> Iterator[GrowRow]:
    """Yield a row per further epoch, of the net as it is and of the net with `blocks` blocks added.

    The recipe is the run's, shortened to `epochs`, from its first rate on, without a warm-up. Added are blocks of a
    zero branch in a net with shortcuts, else identity layers, with batch norm set to the activations there.
    """
    config = probed.config
    recipe = replace(config.recipe, epochs=epochs, iterations=None, warmup_lr=None)
    config = replace(config, recipe=recipe)
    for added in (0, 2 * blocks):
        net = probed.build(data)
        if added:
            _add_blocks(net, probed, data, blocks)
        stream = Stream(data.mean.device)
        stream.wait_for_default()
        evaluation = Evaluation(net, data, "train", stream, is_captured=False)
        evaluation.start()
        loss, error = evaluation.result()
        yield GrowRow(**probed.columns, added=added, further_epoch=0, train_loss=loss, train_error=error)
        with contextlib.closing(Trainer(config, data, net=net)) as trainer:
            for record in trainer.epochs():
                yield GrowRow(
                    **probed.columns,
                    added=added,
                    further_epoch=record.epoch,
                    train_loss=record.train_loss,
                    train_error=record.train_error,
                )


@torch.no_grad()
def _add_blocks(net: Net, probed: ProbedNet, data: DeviceData, count: int) -> None:
    model, variant = probed.config.model, probed.config.variant
    images, _ = sample(data, _IMAGES)
    # Of a copy in training mode: there the added layers must be the identity, and early in training the net's running
    # statistics are far from those of its minibatches.
    activations = insertion.activations(copy.deepcopy(net).train(), images)
    seed = generator(probed.config.seed, probed.epoch)

    def make(place: int, width: int) -> Block:
        if VARIANTS[variant].has_shortcut:
            return insertion.resting_block(model, variant, width, seed)
        a = activations[place].transpose(0, 1).flatten(1)
        return insertion.dirac_block(model, variant, width, (a.mean(dim=1), a.var(dim=1, correction=0)))

    insertion.grow(net, count, make)
