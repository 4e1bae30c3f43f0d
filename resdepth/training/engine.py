"""Engines: how the same step is executed. None of them changes the experiment.

eager       kernel by kernel
graph       the step replayed as a CUDA graph
compiled    blocks compiled by torch.compile, one by shape; on CUDA replayed as a graph too
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from resdepth.errors import ConfigError
from resdepth.models.conv import Block

# Five shapes of block, two variants, three precisions; beyond Dynamo's limit all would silently run eager.
_MOST_COMPILATIONS = 64


def choose(engine: str, device: torch.device) -> str:
    """The engine that `auto` stands for. Raises ConfigError for one that the device does not have."""
    if engine == "auto":
        return "graph" if device.type == "cuda" else "eager"
    if engine == "graph" and device.type != "cuda":
        raise ConfigError("engine", engine, f"captures CUDA graphs; on {device.type} say engine=auto or engine=eager")
    return engine


def is_captured(engine: str, device: torch.device) -> bool:
    """Whether the step is replayed as a CUDA graph."""
    return engine in ("graph", "compiled") and device.type == "cuda"


def block_forward(engine: str, *, recompute: bool) -> Callable[[Block, Tensor], Tensor]:
    """How a block is called while training. `recompute` keeps its input alone and is never compiled."""
    if recompute:
        return _recomputed
    return _compiled() if engine == "compiled" else Block.__call__


@cache
def _compiled(backend: str = "inductor") -> Callable[[Block, Tensor], Tensor]:
    """One function for all blocks: parameters are its inputs, so that blocks of one shape share what is compiled."""
    torch._dynamo.config.recompile_limit = _MOST_COMPILATIONS
    torch._dynamo.config.fail_on_recompile_limit_hit = True
    return torch.compile(_forward, dynamic=False, backend=backend)


def _forward(block: Block, a: Tensor) -> Tensor:
    return block.forward(a)


def _recomputed(block: Block, a: Tensor) -> Tensor:
    """Gradient checkpointing: the block's activations are computed again in the backward pass. Chen et al. 2016."""

    def contexts() -> tuple[AbstractContextManager[object], AbstractContextManager[object]]:
        return nullcontext(), _statistics_kept(block)

    # Nothing in a block is random. The state of a generator could not be read inside a graph.
    return checkpoint(block, a, use_reentrant=False, preserve_rng_state=False, context_fn=contexts)


@contextmanager
def _statistics_kept(block: Block) -> Iterator[None]:
    """The second forward pass must not count in batch norm's running statistics."""
    norms = [module for module in block.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
