"""The loop: a generator of EpochRecords. What is done with a record is its reader's business."""

import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch

from resdepth.config import RunConfig
from resdepth.data.augment import INITIALISATION, draw_order, generator
from resdepth.data.resident import ResidentData
from resdepth.models.conv import build
from resdepth.records import SCHEMA_VERSION, EpochRecord
from resdepth.training.schedule import Schedule, warms_up
from resdepth.training.step import Step, evaluate


class Training:
    """One net and how far it is trained. A `state_dict`, loaded into a fresh one, continues identically."""

    def __init__(self, config: RunConfig, data: ResidentData) -> None:
        self.config, self.data = config, data
        self.schedule = Schedule.of(config.recipe, len(data.train))
        channels = data.train.images.shape[1]
        source = generator(config.seed, INITIALISATION)
        net = build(config.depth, config.variant, config.model, channels, data.classes, source)
        self.net = net.to(data.mean.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.step = Step(self.net, data, config.recipe, config.precision)
        self.epoch = 0
        self.warming_up = True
        self.train_error = math.nan

    def state_dict(self) -> dict[str, Any]:
        return {
            "net": self.net.state_dict(),
            "optimiser": self.step.optimiser.state_dict(),
            "epoch": self.epoch,
            "warming_up": self.warming_up,
            "train_error": self.train_error,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Raises AttributeError, KeyError, RuntimeError, TypeError or ValueError for what is no state of this net."""
        if not 0 < state["epoch"] <= self.schedule.epochs:
            raise ValueError(f"epoch {state['epoch']} of {self.schedule.epochs}")
        self.net.load_state_dict(state["net"])
        self.step.optimiser.load_state_dict(state["optimiser"])
        self.epoch, self.warming_up, self.train_error = state["epoch"], state["warming_up"], state["train_error"]

    def epochs(self, on_step: Callable[[int], None] = lambda _: None) -> Iterator[EpochRecord]:
        """Train the epochs that are left. `on_step` hears of each minibatch handed to the device, by its iteration.

        Ends early after an epoch whose loss is no longer a number.
        """
        while self.epoch < self.schedule.epochs:
            started = time.perf_counter()
            epoch = self.epoch + 1
            rates = self._rates(epoch)
            self._train_epoch(epoch, rates, on_step)
            loss, self.train_error = self.step.totals()
            self.epoch = epoch
            record = self._record(rates[-1], loss, started)
            yield record
            if record.diverged:
                return

    def _rates(self, epoch: int) -> list[float]:
        """The learning rate of each of the epoch's minibatches."""
        recipe = self.config.recipe
        self.warming_up = self.warming_up and warms_up(recipe, self.config.depth, epoch, self.train_error)
        if self.warming_up and recipe.warmup_lr is not None:
            return [recipe.warmup_lr] * self.schedule.steps_in(epoch)
        return self.schedule.rates(epoch)

    def _train_epoch(self, epoch: int, rates: list[float], on_step: Callable[[int], None]) -> None:
        recipe, schedule = self.config.recipe, self.schedule
        images, steps = len(self.data.train), len(rates)
        order = draw_order(self.config.seed, epoch, images, schedule.batch_size, steps, recipe.pad, recipe.flip)
        self.step.begin_epoch(order)
        before = (epoch - 1) * schedule.steps_per_epoch
        for i, lr in enumerate(rates):
            self.step(i, lr)
            on_step(before + i + 1)

    def _record(self, lr: float, train_loss: float, started: float) -> EpochRecord:
        config, recipe, epoch = self.config, self.config.recipe, self.epoch
        is_last = epoch == self.schedule.epochs or not math.isfinite(train_loss)
        test_loss = test_error = clean_error = math.nan
        if is_last or epoch % recipe.eval_every == 0:
            test_loss, test_error = evaluate(self.net, self.data, "test", config.precision)
            if recipe.eval_clean:
                clean_error = evaluate(self.net, self.data, "train", config.precision)[1]
        return EpochRecord(
            schema_version=SCHEMA_VERSION,
            dataset=config.data.name,
            model=config.model.name,
            variant=config.variant,
            depth=config.depth,
            shortcut=config.shortcut,
            seed=config.seed,
            epoch=epoch,
            iteration=min(epoch * self.schedule.steps_per_epoch, self.schedule.iterations),
            lr=lr,
            train_loss=train_loss,
            train_error=self.train_error,
            train_error_clean=clean_error,
            test_loss=test_loss,
            test_error=test_error,
            epoch_seconds=time.perf_counter() - started,
        )
