"""Blocks compiled in parallel processes (engine=compiled), before the process that trains needs them.

torch.compile takes many seconds for each shape of block. Here each shape is compiled in a process of its own, into
PyTorch's cache on disk, from which the training process then loads it; meanwhile its other runs go on.

If the main script imports torch at its top level, its name becomes part of PyTorch's cache keys (by pickle), and
nothing is found in the cache.
"""

import contextlib
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import ModuleType

import torch

from resdepth import device as devices
from resdepth.config.schema import ModelConfig, RunConfig
from resdepth.data.dataset import Shape
from resdepth.data.device_data import to_device
from resdepth.data.synthetic import random_dataset
from resdepth.errors import TRACEBACK, trace
from resdepth.host import cores, signals_blocked
from resdepth.models.plugins import Plugin, activate, active_plugins
from resdepth.models.size import stages
from resdepth.training.engine import block_forward
from resdepth.training.timing import begin_epoch
from resdepth.training.trainer import Trainer

# A compiler that hangs must not stop the sweep.
_MOST_SECONDS = 300.0
# Kinds of nets whose blocks are being compiled, and those whose blocks were.
_in_progress: set[str] = set()
_done: set[str] = set()


def compile_blocks(trainer: Trainer) -> Iterator[None]:
    """Have the trainer's blocks compiled, once per process and kind of net; yield as long as that takes.

    A failure is left to the first step, which compiles what is missing and raises.
    """
    # Two blocks per stage: a net of that depth has every shape of block.
    enough = 2 * trainer.config.model.min_depth - 2
    config = replace(trainer.config, depth=min(trainer.config.depth, enough), seed=0)
    is_compiled = trainer.engine == "compiled" and not config.gradient_checkpointing
    if not is_compiled or multiprocessing.current_process().daemon:  # a daemon may not have processes of its own
        return
    channels, height, width = trainer.data.train.images.shape[1:]
    shape = Shape(channels, height, width, trainer.data.classes, trainer.schedule.batch_size)
    layout = (trainer.net.memory_format, config.native_batch_norm)
    kind = (config.device, config.variant, config.plugin, config.model, config.precision, layout, shape)
    key = repr((config.depth, kind))
    containing = {key, repr((enough, kind))}
    while containing & _in_progress:
        yield  # by another run
    if containing & _done:
        return
    _in_progress.add(key)
    waiting, active = _distinct_blocks(config.depth, config.model), list[tuple[BaseProcess, float]]()
    settings = (config, shape, max(1, cores() // len(waiting)), torch.get_num_threads(), active_plugins())
    start = multiprocessing.get_context("spawn").Process
    try:
        while waiting or active:
            while waiting and len(active) < cores():
                process: BaseProcess = start(target=_compile, args=(waiting.pop(), *settings), daemon=True)
                with signals_blocked(), _without_main():
                    process.start()
                active.append((process, time.monotonic() + _MOST_SECONDS))
            for process, end in active:
                if time.monotonic() > end:
                    process.kill()
            active = [(process, end) for process, end in active if process.is_alive()]
            yield
        _done.add(key)
    finally:
        _in_progress.discard(key)
        for process, _ in active:
            process.kill()


@contextlib.contextmanager
def _without_main() -> Iterator[None]:
    """Keep the processes that are started from executing the main script again, which may be a user's, unguarded."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _distinct_blocks(depth: int, model: ModelConfig) -> list[int]:
    """Return the numbers of the blocks of different shapes: the first of each stage, and its second if that differs."""
    found: dict[tuple[int, ...], int] = {}
    number = 0
    for i, (blocks, before, width) in enumerate(stages(depth, model)):
        # The maps of a conv net's stages differ in their sides.
        stage = i if model.architecture == "conv" else 0
        found.setdefault((before, width, stage), number)
        if blocks > 1:
            found.setdefault((width, width, stage), number + 1)
        number += blocks
    return list(found.values())


def _compile(number: int, config: RunConfig, shape: Shape, share: int, threads: int, plugins: Sequence[Plugin]) -> None:
    """Train a net for one step with one compiled block; the function that a process executes."""
    # Each process would start as many compilers as there are cores.
    os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", str(share))
    with (
        devices.threads(threads, pinned=False),  # the compilers that it starts would all inherit one core
        Path(os.devnull).open("w") as nowhere,
        contextlib.redirect_stderr(sys.stderr if TRACEBACK in os.environ else nowhere),
    ):
        try:
            activate(plugins)
            _step_with_compiled(number, config, shape)
        except Exception:  # the training process compiles what is missing, and reports why it cannot
            trace()


def _step_with_compiled(number: int, config: RunConfig, shape: Shape) -> None:
    device, recipe = devices.resolve(config.device), config.recipe
    devices.set_precision(config.precision, device)
    data = to_device(random_dataset(shape, shape.train_images), recipe.normalise, recipe.pad, device)
    trainer = Trainer(replace(config, engine="eager"), data)
    compiled, chosen = block_forward("compiled", recompute=False), trainer.net.blocks[number]
    trainer.net.call_block = lambda block, a: compiled(block, a) if block is chosen else block(a)
    begin_epoch([trainer])
    trainer.step()
    trainer.close()
