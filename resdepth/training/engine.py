"""Engines: how a training step is executed. They differ in speed, not in what is computed.

eager       one kernel after the other
graph       the step replayed as a CUDA graph
compiled    blocks compiled by torch.compile, one per shape; on CUDA also replayed as a graph
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import cache, partial

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from resdepth.errors import ConfigError
from resdepth.models.batch_norm import BatchNorm
from resdepth.models.net import Block

# A block draws no random numbers, and a generator's state cannot be read inside a graph.
_checkpoint = partial(checkpoint, use_reentrant=False, preserve_rng_state=False)


def choose(engine: str, device: torch.device) -> str:
    """Return the engine, with `auto` resolved. Raises ConfigError for one that the device does not have."""
    if engine == "auto":
        return "graph" if device.type == "cuda" else "eager"
    if engine == "graph" and device.type != "cuda":
        raise ConfigError("engine", engine, f"captures CUDA graphs; on {device.type} use engine=auto or engine=eager")
    return engine


def is_captured(engine: str, device: torch.device) -> bool:
    """Whether the step is replayed as a CUDA graph."""
    return engine in ("graph", "compiled") and device.type == "cuda"


def choose_memory_format(requested: str, precision: str, device: torch.device) -> torch.memory_format:
    """Return the memory format of a net's maps; `auto` is channels-last where the arithmetic gains by it.

    cuDNN's tensor cores (tf32, bf16) work channels-last; in float32 it is slower on CUDA (pytorch issue 44943).
    """
    if requested == "auto":
        requested = "contiguous" if device.type == "cuda" and precision == "fp32" else "channels_last"
    return torch.channels_last if requested == "channels_last" else torch.contiguous_format


def block_forward(engine: str, *, recompute: bool) -> Callable[[Block, Tensor], Tensor]:
    """Return the function that runs a block during training.

    With `recompute`, only the block's input is stored (gradient checkpointing) and the block is never compiled.
    """
    if recompute:
        return _recomputed
    return _compiled() if engine == "compiled" else Block.__call__


@cache
def _compiled() -> Callable[[Block, Tensor], Tensor]:
    """Compile one function for all blocks: parameters are its inputs, so that blocks of one shape share the code."""
    # Five shapes of block for every variant, precision, width, shortcut and minibatch. Beyond torch's default limit of
    # 8, blocks would run eagerly.
    torch.compiler.config.recompile_limit = torch.compiler.config.accumulated_recompile_limit = 4096
    torch.compiler.config.fail_on_recompile_limit_hit = True
    return torch.compile(Block.forward, dynamic=False)


def _recomputed(block: Block, a: Tensor) -> Tensor:
    """Gradient checkpointing: the block's activations are computed again in the backward pass. Chen et al. 2016."""
    return _checkpoint(block, a, context_fn=lambda: (nullcontext(), _frozen_statistics(block)))


@contextmanager
def _frozen_statistics(block: Block) -> Iterator[None]:
    """Keep the second forward pass from updating the running statistics of batch norm."""
    norms = [(module, module.momentum) for module in block.modules() if isinstance(module, BatchNorm)]
    for norm, _ in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum in norms:
            norm.momentum = momentum
