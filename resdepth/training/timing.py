"""Time of a training step, of one net or of several at once. The estimate and the bench measure with it."""

import time
from collections.abc import Iterator, Sequence

from resdepth import device as devices
from resdepth.data.augment import draw_order
from resdepth.training.trainer import Trainer


def window_steps(device_type: str) -> int:
    """Return how many steps are timed as a whole, so that the wait at their end does not count at every step."""
    return {"cpu": 1, "mps": 10}.get(device_type, 20)


def begin_epoch(trainers: Sequence[Trainer]) -> None:
    """Begin an epoch of each trainer: all of its training images once."""
    first = trainers[0]
    recipe, schedule = first.config.recipe, first.schedule
    steps, images = schedule.steps_per_epoch, len(first.data.train)
    order = draw_order(0, 1, images, schedule.batch_size, steps, recipe.pad, recipe.flip)
    for trainer in trainers:
        trainer.step.begin_epoch(order, [recipe.lr] * steps)


def windows(trainers: Sequence[Trainer], steps: int) -> Iterator[float]:
    """Time windows of `steps` steps of each trainer (at most an epoch); yield seconds per step and trainer."""
    device = trainers[0].data.mean.device
    while True:
        begin_epoch(trainers)
        devices.synchronise(device)
        started = time.perf_counter()
        _submit_in_turn(trainers, steps)
        devices.synchronise(device)
        yield (time.perf_counter() - started) / steps / len(trainers)


def _submit_in_turn(trainers: Sequence[Trainer], steps: int) -> None:
    """Submit so many steps of each trainer, in turn, to those whose queue has room."""
    left = [steps] * len(trainers)
    while any(left):
        for i, trainer in enumerate(trainers):
            if left[i] and trainer.stream.can_submit:
                trainer.step()
                left[i] -= 1
