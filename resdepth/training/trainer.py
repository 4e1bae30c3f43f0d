"""The training loop: a generator that yields one EpochRecord per epoch and performs no I/O."""

import math
import time
from collections.abc import Callable, Iterator
from enum import Enum
from typing import Any

from torch import Tensor

from resdepth.config.schema import RunConfig
from resdepth.data.augment import draw_order
from resdepth.data.device_data import DeviceData
from resdepth.data.seeding import INITIALISATION, generator
from resdepth.models.batch_norm import BatchNorm
from resdepth.models.build import build
from resdepth.models.net import Net, copy_tensors
from resdepth.results.metrics import SCHEMA_VERSION, EpochRecord
from resdepth.training import engine
from resdepth.training.cuda import Stream
from resdepth.training.evaluation import Evaluation
from resdepth.training.schedule import Schedule, warms_up
from resdepth.training.sgd import SGD
from resdepth.training.step import Objective, Step, classification


class StepEvent(Enum):
    """Yielded between records so that runs can be interleaved: a step was submitted, or none can be at the moment."""

    SUBMITTED = 1
    WAITING = 2


def build_net(config: RunConfig, data: DeviceData) -> Net:
    """Return the net of a configuration at its initialisation, on the CPU."""
    source = generator(config.seed, INITIALISATION)
    return build(config.depth, config.variant, config.model, data.image, data.classes, source)


class Trainer:
    """One net and the state of its training. After `load_state_dict`, training continues bit for bit.

    `net` is by default the configuration's, at its initialisation; with an `objective` other than classification it is
    not evaluated, so that test losses and errors are NaN. All work is submitted to `stream`, by default one of its own;
    `close` waits for it and frees the captured graphs.
    """

    def __init__(
        self, config: RunConfig, data: DeviceData, stream: Stream | None = None, net: Net | None = None,
        objective: Objective = classification,
    ) -> None:  # fmt: skip
        self.config, self.data = config, data
        self.schedule = Schedule.of(config.recipe, len(data.train))
        device = data.mean.device
        net = net or build_net(config, data)
        net.memory_format = engine.choose_memory_format(config.memory_format, config.precision, device)
        self.net = net.to(device, memory_format=net.memory_format)  # type: ignore[call-overload]
        self.engine = engine.choose(config.engine, device)
        self.net.call_block = engine.block_forward(self.engine, recompute=config.gradient_checkpointing)
        for module in self.net.modules():
            if isinstance(module, BatchNorm):
                module.uses_cudnn = not config.native_batch_norm
        self.stream = stream or Stream(device)
        captured = engine.is_captured(self.engine, device)
        optimiser = SGD(self.net, config.recipe, device, half=config.precision == "bf16")
        self.step = Step(
            self.net, data, optimiser, self.schedule, self.stream, is_captured=captured, objective=objective
        )
        splits = ["test", "train"] if config.recipe.eval_clean else ["test"]
        self._evaluations = {
            split: Evaluation(self.net, data, split, self.stream, is_captured=captured)
            for split in splits
            if objective is classification
        }
        self.epoch, self.warming_up, self.train_error = 0, True, math.nan

    def state_dict(self) -> dict[str, Any]:
        position = {"epoch": self.epoch, "warming_up": self.warming_up, "train_error": self.train_error}
        return {"tensors": self._tensors(), **position}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Raises KeyError, TypeError or ValueError for a state of another net."""
        copy_tensors(self._tensors(), state["tensors"])
        self.step.optimiser.cast_masters()
        epoch = state["epoch"]
        if type(epoch) is not int or not 0 < epoch <= self.schedule.epochs:
            raise ValueError(f"epoch {epoch}")
        self.epoch, self.warming_up, self.train_error = epoch, bool(state["warming_up"]), float(state["train_error"])

    def close(self) -> None:
        """Wait for the device, then free the captured graphs: only then may others use their memory and the stream."""
        self.stream.synchronise()
        self.step.release()
        for evaluation in self._evaluations.values():
            evaluation.release()

    @property
    def weights(self) -> dict[str, Tensor]:
        """All tensors of the net by name, float32 also where it computes in bfloat16."""
        return {**self.net.state_dict(), **self.step.optimiser.masters}

    def _tensors(self) -> dict[str, Tensor]:
        """Return all tensors of the training state, by name: the net's in float32, and momentum.0, momentum.1, ..."""
        optimiser = self.step.optimiser
        momenta = {f"momentum.{i}": momentum for i, momentum in enumerate(optimiser.momenta)}
        return {**self.weights, **momenta}

    def epochs(self, on_step: Callable[[int], None] = lambda _: None) -> Iterator[EpochRecord]:
        """Train the remaining epochs of this net alone."""
        return (event for event in self.steps(on_step) if isinstance(event, EpochRecord))

    def steps(self, on_step: Callable[[int], None] = lambda _: None) -> Iterator[EpochRecord | StepEvent]:
        """Train the remaining epochs, yielding after every step. Stops after an epoch whose loss is not finite.

        `on_step` is called with the iteration, from 1, of each step submitted to the device.
        """
        recipe, images, batch = self.config.recipe, len(self.data.train), self.schedule.batch_size
        while self.epoch < self.schedule.epochs:
            started = time.perf_counter()
            epoch = self.epoch + 1
            rates = self._rates(epoch)
            order = draw_order(self.config.seed, epoch, images, batch, len(rates), recipe.pad, recipe.flip)
            self.step.begin_epoch(order, rates)
            for evaluation in self._evaluations.values():
                # In the first epoch already: a run that has started needs no more memory later.
                evaluation.capture()
            before = self.epoch * self.schedule.steps_per_epoch
            for iteration in range(before + 1, before + len(rates) + 1):
                while not self.stream.can_submit:
                    yield StepEvent.WAITING
                self.step()
                on_step(iteration)
                yield StepEvent.SUBMITTED
            is_evaluated = epoch == self.schedule.epochs or epoch % recipe.eval_every == 0
            if is_evaluated:
                self._start_evaluations()
            while not self.stream.is_idle:
                yield StepEvent.WAITING
            loss, self.train_error = self.step.epoch_metrics()
            if not is_evaluated and not math.isfinite(loss):
                is_evaluated = True  # the last row of a diverged run
                self._start_evaluations()
            self.epoch = epoch
            record = self._record(iteration, rates[-1], loss, is_evaluated, started)
            yield record
            if record.diverged:
                return

    def _rates(self, epoch: int) -> list[float]:
        """Return the learning rate of each step of the epoch."""
        recipe = self.config.recipe
        self.warming_up = self.warming_up and warms_up(recipe, self.config.depth, epoch, self.train_error)
        if self.warming_up and recipe.warmup_lr is not None:
            return [recipe.warmup_lr] * self.schedule.steps_in(epoch)
        return self.schedule.rates(epoch)

    def _start_evaluations(self) -> None:
        for evaluation in self._evaluations.values():
            evaluation.start()
        self.stream.record_event()

    def _record(self, iteration: int, lr: float, loss: float, is_evaluated: bool, started: float) -> EpochRecord:
        config = self.config
        results = {}
        if is_evaluated:
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
            epoch=self.epoch,
            iteration=iteration,
            lr=lr,
            train_loss=loss,
            train_error=self.train_error,
            train_error_clean=results.get("train", (math.nan, math.nan))[1],
            test_loss=test_loss,
            test_error=test_error,
            epoch_seconds=time.perf_counter() - started,
        )
