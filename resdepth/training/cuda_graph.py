"""CUDA graphs: kernels recorded once, then launched together. Thin nets take longer to launch than to compute."""

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

# Libraries create plans and workspaces at their first calls, which must not be recorded.
_WARM_UP_CALLS = 3


class CudaGraph:
    """`body` captured as a CUDA graph: a function that reads and writes tensors in place, without arguments or result.

    `state` lists all tensors that it changes; they keep their values during the capture. Only one graph can be captured
    at a time in a process. Each graph has its own memory pool, so that graphs can run concurrently.
    """

    def __init__(self, body: Callable[[], None], state: Iterable[Tensor]) -> None:
        current = torch.cuda.current_stream()
        own = torch.cuda.Stream()
        own.wait_stream(current)
        changed = [tensor.detach() for tensor in state]
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.stream(own):
            before = [tensor.clone() for tensor in changed]
            for _ in range(_WARM_UP_CALLS):
                body()
                for tensor, value in zip(changed, before, strict=True):
                    tensor.copy_(value)
        # Other threads of the process may use the device during the capture.
        with torch.cuda.graph(self._graph, stream=own, capture_error_mode="thread_local"):
            body()
        current.wait_stream(own)

    def __call__(self) -> None:
        """Submit the graph to the current stream."""
        self._graph.replay()
