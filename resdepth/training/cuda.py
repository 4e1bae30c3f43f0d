"""CUDA streams and graphs: a run's own queue of work, and steps recorded once and replayed.

Thin nets take longer to launch than to compute, so a step is captured as a graph. A run warms up, captures and replays
all its graphs on one stream: cuBLAS keeps a workspace per stream, and graphs that share one must not run at once.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor

# Libraries create plans and workspaces at their first calls, which must not be recorded.
_WARM_UP_CALLS = 3
# Enough queued steps to keep a GPU busy, few enough that concurrent runs share it.
_MAX_IN_FLIGHT = 4


def has_streams(device: torch.device) -> bool:
    """Whether work is queued on streams of the device; elsewhere it is done at once."""
    return device.type == "cuda"


class Stream:
    """The queue of one run's work on its device: a CUDA stream. On a device without streams, always empty."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device) if has_streams(device) else None
        self._in_flight: deque[torch.cuda.Event] = deque()

    def as_current(self) -> AbstractContextManager[object]:
        """Return a context in which all work is submitted to this stream."""
        return torch.cuda.stream(self._stream) if self._stream is not None else nullcontext()

    def wait_for_default(self) -> None:
        """Have later work wait for what was submitted to the default stream, where nets and data are prepared."""
        if self._stream is not None:
            self._stream.wait_stream(torch.cuda.default_stream(self._device))

    def record_event(self) -> None:
        """Mark the work submitted so far as one item in flight."""
        if self._stream is not None:
            self._in_flight.append(self._stream.record_event())

    @property
    def can_submit(self) -> bool:
        """Whether another step may be submitted."""
        return self._count_in_flight() < _MAX_IN_FLIGHT

    @property
    def is_idle(self) -> bool:
        """Whether the device has completed all submitted work."""
        return self._count_in_flight() == 0

    def _count_in_flight(self) -> int:
        while self._in_flight and self._in_flight[0].query():
            self._in_flight.popleft()
        return len(self._in_flight)

    def synchronise(self) -> None:
        """Wait until the device has completed all submitted work."""
        if self._stream is not None:
            self._stream.synchronize()
        self._in_flight.clear()

    def capture(self, graph: torch.cuda.CUDAGraph) -> AbstractContextManager[None]:
        """Return a context in which work is recorded into `graph` instead of being submitted."""
        # Other threads of the process may use the device during the capture.
        return torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local")


class StreamPool:
    """Streams lent to runs, and handed on when a run has ended: no more exist than runs that train at once.

    PyTorch has 32 streams per device and gives them out in turn, so that of more than 32 two are the same.
    """

    def __init__(self) -> None:
        self._free: list[Stream] = []

    @contextmanager
    def lend(self, device: torch.device) -> Iterator[Stream]:
        """Lend a stream of the pool's only device. Its borrower releases its graphs before it gives the stream back."""
        stream = self._free.pop() if self._free else Stream(device)
        try:
            yield stream
        finally:
            self._free.append(stream)


class CudaGraph:
    """`body` captured as a CUDA graph: a function that reads and writes tensors in place, without arguments or result.

    `state`: the tensors that `body` changes and whose values are restored after each warm-up call. Only one graph can
    be captured at a time in a process. Each has its own memory pool. Release the graphs of one stream together: PyTorch
    frees the stream's cuBLAS workspace with the first of them (pytorch issue 193402).
    """

    def __init__(self, body: Callable[[], None], state: Iterable[Tensor], stream: Stream) -> None:
        self._stream = stream
        self._graph = torch.cuda.CUDAGraph()
        changed = [tensor.detach() for tensor in state]
        # Also around the capture: when that fails, PyTorch leaves its stream the current one.
        with stream.as_current():
            before = [tensor.clone() for tensor in changed]
            for _ in range(_WARM_UP_CALLS):
                body()
                for tensor, value in zip(changed, before, strict=True):
                    tensor.copy_(value)
            try:
                with stream.capture(self._graph):
                    body()
            except BaseException:
                self._graph.reset()
                raise

    def __call__(self) -> None:
        """Submit the graph to its stream."""
        with self._stream.as_current():
            self._graph.replay()

    def release(self) -> None:
        """Free the graph and its memory; the device must have completed its work."""
        self._graph.reset()
