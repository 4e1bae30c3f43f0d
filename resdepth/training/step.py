"""One step of SGD, and the sums it leaves on the device. He et al. 2015, section 4.2.

The same body trains on every engine. It takes all that changes from step to step (minibatch, learning rate) from tables
on the device by a counter on the device, so that nothing waits for the host and a captured graph can replay it.
"""

import contextlib
from collections import deque
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resdepth.config.schema import RecipeConfig
from resdepth.data.device_data import DeviceData
from resdepth.training.cuda_graph import CudaGraph
from resdepth.training.sgd import SGD

# Steps a run may have in flight on a GPU: enough that it never idles, few enough that runs beside it get their turn.
_IN_FLIGHT = 4


class Step:
    """Trains `net` on one minibatch after the other.

    Losses and errors are summed in device tensors and read once an epoch (`epoch_metrics`), so that the host never
    waits for the device inside an epoch. `is_captured` replays the step as a CUDA graph, captured when the first epoch
    begins; states must be loaded before. On a GPU all work goes to a stream of the run's own.
    """

    def __init__(
        self,
        net: nn.Module,
        data: DeviceData,
        recipe: RecipeConfig,
        precision: str,
        shape: tuple[int, int],
        *,
        is_captured: bool = False,
    ) -> None:
        """`shape` is (steps, batch) of a whole epoch."""
        self.net, self.precision = net, precision
        self._data, self._device = data, data.mean.device
        self.stream = torch.cuda.Stream(self._device) if self._device.type == "cuda" else None
        self.optimiser = SGD(net, recipe, self._device)
        self._drawn = torch.zeros((shape[0], 4, shape[1]), dtype=torch.int64, device=self._device)
        self._rates = torch.zeros(shape[0], device=self._device)
        self._position = torch.zeros(1, dtype=torch.int64, device=self._device)
        self._loss_sum = torch.zeros((), device=self._device)
        self._error_count = torch.zeros((), dtype=torch.int64, device=self._device)
        self._done = 0
        self._is_captured = is_captured
        self._graph: CudaGraph | None = None
        self._in_flight: deque[torch.cuda.Event] = deque()

    def on_stream(self) -> contextlib.AbstractContextManager[object]:
        """The run's own stream as the current one, where the device has streams."""
        return torch.cuda.stream(self.stream) if self.stream is not None else contextlib.nullcontext()

    def begin_epoch(self, order: Tensor, rates: Sequence[float]) -> None:
        """Start over at the first minibatch of `order`, with the learning rate of each step."""
        self._done = 0
        self.net.train()
        if self.stream is not None:
            # What was prepared elsewhere: the net and its state, the data.
            self.stream.wait_stream(torch.cuda.default_stream(self._device))
        with self.on_stream():
            self._drawn[: len(order)].copy_(order)
            self._rates[: len(rates)].copy_(torch.tensor(rates))
            for counter in (self._position, self._loss_sum, self._error_count):
                counter.zero_()
            if self._is_captured and self._graph is None:
                self._graph = CudaGraph(self._body, self._state())

    def __call__(self) -> None:
        """Train on the next minibatch of the epoch."""
        with self.on_stream():
            if self._graph is not None:
                self._graph()
            else:
                self._body()
        self.record_event()
        self._done += 1

    def record_event(self) -> None:
        """Count what has been handed to the run's stream as one more in flight."""
        if self.stream is not None:
            self._in_flight.append(self.stream.record_event())

    @property
    def can_submit(self) -> bool:
        """Whether another step may be handed to the device; on a CPU always."""
        return self._count_in_flight() < _IN_FLIGHT

    @property
    def is_finished(self) -> bool:
        """Whether the device has done all it was handed; on a CPU always."""
        return self._count_in_flight() == 0

    def _count_in_flight(self) -> int:
        while self._in_flight and self._in_flight[0].query():
            self._in_flight.popleft()
        return len(self._in_flight)

    def epoch_metrics(self) -> tuple[float, float]:
        """Mean loss (nats) and error (percent) over the epoch's minibatches so far. Waits for the device."""
        with self.on_stream():
            seen = self._done * self._drawn.shape[2]
            return self._loss_sum.item() / seen, 100 * self._error_count.item() / seen

    def _body(self) -> None:
        drawn = self._drawn.index_select(0, self._position)[0]
        x, y = self._data.minibatch(drawn)
        self.optimiser.lr.copy_(self._rates.index_select(0, self._position)[0])
        self.optimiser.zero_grad()
        logits = forward(self.net, x, self.precision)
        loss = F.cross_entropy(logits, y)
        loss.backward()
        self.optimiser.step()
        self._loss_sum += loss.detach() * len(y)
        self._error_count += (logits.detach().argmax(dim=1) != y).sum()
        self._position += 1

    def _state(self) -> list[Tensor]:
        """All that a step changes."""
        counters = [self._position, self._loss_sum, self._error_count]
        return [*self.net.parameters(), *self.net.buffers(), *self.optimiser.momenta, *counters]


def forward(net: nn.Module, x: Tensor, precision: str) -> Tensor:
    """Logits (N, classes) in float32; the layers run in bfloat16 where `precision` is bf16."""
    with torch.autocast(x.device.type, dtype=torch.bfloat16, enabled=precision == "bf16"):
        logits = net(x)
    return logits.float()
