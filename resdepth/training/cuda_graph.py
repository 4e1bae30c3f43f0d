"""CUDA graphs: a function's kernels recorded once and started together from then on.

These nets are thin, so that starting their kernels one by one takes longer than running them.
"""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

# What a library does at its first calls only (plans, workspaces) must not be recorded.
_WARM_UP = 3


class CudaGraph:
    """`body` as a CUDA graph. It takes nothing and returns nothing: it reads and writes tensors that stay in place.

    `state` is all that it changes; it is as before once the graph is captured. One capture at a time in a process. Each
    graph has a memory pool of its own, so that graphs may run side by side.
    """

    def __init__(self, body: Callable[[], None], state: Iterable[Tensor]) -> None:
        current = torch.cuda.current_stream()
        own = torch.cuda.Stream()
        own.wait_stream(current)
        changed = list(state)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.stream(own), torch.no_grad():
            before = [tensor.clone() for tensor in changed]
        for _ in range(_WARM_UP):
            with torch.cuda.stream(own):
                body()
                _restore(changed, before)
        # Other runs of this process go on at the same time: only this thread's calls are watched.
        with torch.cuda.graph(self._graph, stream=own, capture_error_mode="thread_local"):
            body()
        current.wait_stream(own)

    def __call__(self) -> None:
        """Enqueue the whole of it on the current stream."""
        self._graph.replay()


@torch.no_grad()
def _restore(tensors: list[Tensor], values: list[Tensor]) -> None:
    for tensor, value in zip(tensors, values, strict=True):
        tensor.copy_(value)
