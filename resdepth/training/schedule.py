"""When which learning rate holds, and how long a run lasts. No torch."""

import bisect
import math
from dataclasses import dataclass

from resdepth.config.schema import RecipeConfig


@dataclass(frozen=True)
class Schedule:
    """The recipe's lengths in iterations for a training set of a given size.

    An epoch is `steps_per_epoch` full minibatches; the last epoch may end early, at `iterations`.
    """

    batch_size: int
    steps_per_epoch: int
    iterations: int
    milestones: tuple[int, ...]
    lr: float
    gamma: float

    @classmethod
    def of(cls, recipe: RecipeConfig, train_images: int) -> "Schedule":
        """50,000 images in minibatches of 128 are 391 steps; fewer images than a minibatch are one minibatch."""
        batch_size = min(recipe.batch_size, train_images)
        steps = math.ceil(train_images / batch_size)
        iterations = recipe.iterations if recipe.iterations is not None else (recipe.epochs or 0) * steps
        milestones = tuple(round(p * iterations) if p < 1 else int(p) for p in recipe.milestones)
        return cls(batch_size, steps, iterations, milestones, recipe.lr, recipe.gamma)

    @property
    def epochs(self) -> int:
        """Epochs begun, the last perhaps in part."""
        return math.ceil(self.iterations / self.steps_per_epoch)

    def steps_in(self, epoch: int) -> int:
        """Minibatches of epoch 1, 2, ...: all but the last are whole."""
        return min(self.steps_per_epoch, self.iterations - (epoch - 1) * self.steps_per_epoch)

    def rate(self, iteration: int) -> float:
        """The learning rate of step 0, 1, ...: divided at each milestone, from the step with that number on."""
        return self.lr * self.gamma ** bisect.bisect_right(self.milestones, iteration)

    def rates(self, epoch: int) -> list[float]:
        """The learning rate of every step of an epoch."""
        start = (epoch - 1) * self.steps_per_epoch
        return [self.rate(start + i) for i in range(self.steps_in(epoch))]


def warms_up(recipe: RecipeConfig, depth: int, epoch: int, last_train_error: float) -> bool:
    """Whether this epoch still runs at the warm-up's rate, given that the epochs before it all did.

    Decided at epoch ends, from the error of the epoch before. He et al. 2015, section 4.2: ResNet-110 starts at 0.01
    until its training error is below 80 percent.
    """
    if recipe.warmup_lr is None or depth < recipe.warmup_depth or epoch > recipe.warmup_epochs:
        return False
    return epoch == 1 or not last_train_error < recipe.warmup_error
