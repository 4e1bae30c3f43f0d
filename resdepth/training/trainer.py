"""The loop: a generator of EpochRecords. What is done with a record is its reader's business."""

import math
import time
from collections.abc import Callable, Iterator
from enum import Enum
from typing import Any

import torch
from torch import Tensor

from resdepth.config.schema import RunConfig
from resdepth.data.augment import draw_order
from resdepth.data.device_data import DeviceData
from resdepth.data.seeding import INITIALISATION, generator
from resdepth.models.build import build
from resdepth.results.metrics import SCHEMA_VERSION, EpochRecord
from resdepth.training import engine
from resdepth.training.evaluation import Evaluation
from resdepth.training.schedule import Schedule, warms_up
from resdepth.training.step import Step


class StepEvent(Enum):
    """What a loop says between records, so that several may take turns: a step was made, or the device is behind."""

    SUBMITTED = 1
    DEVICE_BUSY = 2


class Trainer:
    """One net and how far it is trained. A `state_dict`, loaded into a fresh one, continues identically."""

    def __init__(self, config: RunConfig, data: DeviceData) -> None:
        self.config, self.data = config, data
        self.schedule = Schedule.of(config.recipe, len(data.train))
        channels, device = data.train.images.shape[1], data.mean.device
        source = generator(config.seed, INITIALISATION)
        net = build(config.depth, config.variant, config.model, channels, data.classes, source)
        self.net = net.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.engine = engine.choose(config.engine, device)
        self.net.call_block = engine.block_forward(self.engine, recompute=config.gradient_checkpointing)
        captured = engine.is_captured(self.engine, device)
        shape = (self.schedule.steps_per_epoch, self.schedule.batch_size)
        self.step = Step(self.net, data, config.recipe, config.precision, shape, is_captured=captured)
        splits = ("test", "train") if config.recipe.eval_clean else ("test",)
        self._evaluations = {s: Evaluation(self.net, data, s, config.precision, is_captured=captured) for s in splits}
        self.epoch = 0
        self.warming_up = True
        self.train_error = math.nan

    def state_dict(self) -> dict[str, Any]:
        position = {"epoch": self.epoch, "warming_up": self.warming_up, "train_error": self.train_error}
        return {"tensors": self._tensors(), **position}

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Raises KeyError, TypeError or ValueError for a state that is not this net's."""
        own, saved = self._tensors(), state["tensors"]
        if own.keys() != saved.keys() or any(own[name].shape != saved[name].shape for name in own):
            raise ValueError("the tensors differ in name or shape")
        # Into the tensors there are: a captured graph knows their addresses.
        for name, tensor in own.items():
            tensor.copy_(saved[name])
        epoch = state["epoch"]
        if type(epoch) is not int or not 0 < epoch <= self.schedule.epochs:
            raise ValueError(f"epoch {epoch}")
        self.epoch, self.warming_up, self.train_error = epoch, bool(state["warming_up"]), float(state["train_error"])

    def _tensors(self) -> dict[str, Tensor]:
        """All tensors that the training builds up, by name."""
        momenta = {f"momentum.{i}": momentum for i, momentum in enumerate(self.step.optimiser.momenta)}
        return {**self.net.state_dict(), **momenta}

    def epochs(self, on_step: Callable[[int], None] = lambda _: None) -> Iterator[EpochRecord]:
        """Train the epochs that are left, this net alone. `on_step` hears of each minibatch, by its iteration."""
        return (event for event in self.steps(on_step) if isinstance(event, EpochRecord))

    def steps(self, on_step: Callable[[int], None] = lambda _: None) -> Iterator[EpochRecord | StepEvent]:
        """Train the epochs that are left, giving way after every step. `on_step` hears of each handed to the device.

        Ends early after an epoch whose loss is no longer a number.
        """
        while self.epoch < self.schedule.epochs:
            started = time.perf_counter()
            epoch = self.epoch + 1
            rates = self._rates(epoch)
            self._begin_epoch(epoch, rates)
            before = (epoch - 1) * self.schedule.steps_per_epoch
            for i in range(len(rates)):
                while not self.step.can_submit:
                    yield StepEvent.DEVICE_BUSY
                self.step()
                on_step(before + i + 1)
                yield StepEvent.SUBMITTED
            evaluated = self._start_evaluations(epoch)
            while not self.step.is_finished:
                yield StepEvent.DEVICE_BUSY
            loss, self.train_error = self.step.epoch_metrics()
            self.epoch = epoch
            record = self._record(rates[-1], loss, evaluated, started)
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

    def _begin_epoch(self, epoch: int, rates: list[float]) -> None:
        recipe, images, batch = self.config.recipe, len(self.data.train), self.schedule.batch_size
        order = draw_order(self.config.seed, epoch, images, batch, len(rates), recipe.pad, recipe.flip)
        self.step.begin_epoch(order, rates)

    def _start_evaluations(self, epoch: int) -> bool:
        """Hand the evaluations to the device behind the epoch's steps, where this epoch has any."""
        is_due = epoch == self.schedule.epochs or epoch % self.config.recipe.eval_every == 0
        with self.step.on_stream():
            for evaluation in self._evaluations.values() if is_due else ():
                evaluation.start()
        self.step.record_event()
        return is_due

    def _record(self, lr: float, train_loss: float, is_evaluated: bool, started: float) -> EpochRecord:
        config, epoch = self.config, self.epoch
        if not is_evaluated and not math.isfinite(train_loss):
            is_evaluated = True  # the last row of a run that diverged
            with self.step.on_stream():
                for evaluation in self._evaluations.values():
                    evaluation.start()
        results = {}
        if is_evaluated:
            with self.step.on_stream():
                results = {split: evaluation.result() for split, evaluation in self._evaluations.items()}
        test_loss, test_error = results.get("test", (math.nan, math.nan))
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
            train_error_clean=results.get("train", (math.nan, math.nan))[1],
            test_loss=test_loss,
            test_error=test_error,
            epoch_seconds=time.perf_counter() - started,
        )
