"""Schedules: the length of a run and the learning rate of each step."""

import bisect
import math
from dataclasses import dataclass

from resdepth.config.schema import RecipeConfig


@dataclass(frozen=True)
class Schedule:
    """A recipe's lengths in iterations. An epoch is `steps_per_epoch` minibatches; the last ends at `iterations`."""

    batch_size: int
    steps_per_epoch: int
    iterations: int
    milestones: tuple[int, ...]
    lr: float
    gamma: float

    @classmethod
    def of(cls, recipe: RecipeConfig, train_images: int) -> "Schedule":
        """Round up to full minibatches: 50,000 images / 128 are 391 steps. A smaller training set is one minibatch."""
        batch_size = min(recipe.batch_size, train_images)
        steps = math.ceil(train_images / batch_size)
        iterations = recipe.iterations if recipe.iterations is not None else (recipe.epochs or 0) * steps
        milestones = tuple(round(p * iterations) if p < 1 else int(p) for p in recipe.milestones)
        return cls(batch_size, steps, iterations, milestones, recipe.lr, recipe.gamma)

    @property
    def epochs(self) -> int:
        """Number of epochs, including a partial last one."""
        return math.ceil(self.iterations / self.steps_per_epoch)

    def steps_in(self, epoch: int) -> int:
        """Return the number of minibatches of an epoch, counted from 1; the last epoch may be shorter."""
        return min(self.steps_per_epoch, self.iterations - (epoch - 1) * self.steps_per_epoch)

    def rate(self, iteration: int) -> float:
        """Return the learning rate of a step, counted from 0: multiplied by gamma from each milestone on."""
        return self.lr * self.gamma ** bisect.bisect_right(self.milestones, iteration)

    def rates(self, epoch: int) -> list[float]:
        """Return the learning rate of each step of an epoch."""
        start = (epoch - 1) * self.steps_per_epoch
        return [self.rate(start + i) for i in range(self.steps_in(epoch))]


def warms_up(recipe: RecipeConfig, depth: int, epoch: int, last_train_error: float) -> bool:
    """Whether an epoch uses the warm-up's learning rate, given that all epochs before it did.

    Depends on the training error (percent) of the previous epoch. He et al. 2015, section 4.2: ResNet-110 starts at
    0.01 until its training error is below 80 percent.
    """
    if recipe.warmup_lr is None or depth < recipe.warmup_depth or epoch > recipe.warmup_epochs:
        return False
    return epoch == 1 or not last_train_error < recipe.warmup_error
