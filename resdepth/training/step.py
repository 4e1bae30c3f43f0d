"""Training steps of SGD, with losses and errors summed on the device. He et al. 2015, section 4.2.

Every engine runs the same step. Minibatch indices and learning rates are read from tables on the device, at a position
counted on the device: no step waits for the host, and a captured graph can be replayed.
"""

import contextlib
from collections import deque
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resdepth.data.device_data import DeviceData
from resdepth.training.cuda_graph import CudaGraph
from resdepth.training.schedule import Schedule
from resdepth.training.sgd import SGD


class Step:
    """Trains `net` on one minibatch per call; the sums of losses and errors are read once per epoch (`epoch_metrics`).

    With `is_captured`, the step is captured as a CUDA graph at the beginning of the first epoch; load any saved state
    before. On a GPU each run has its own stream.
    """

    def __init__(
        self, net: nn.Module, data: DeviceData, optimiser: SGD, precision: str, schedule: Schedule, *, is_captured: bool
    ) -> None:
        self.net, self.optimiser, self.precision = net, optimiser, precision
        self._data, self._device = data, data.mean.device
        self.stream = torch.cuda.Stream(self._device) if self._device.type == "cuda" else None
        steps, batch = schedule.steps_per_epoch, schedule.batch_size
        self._order = torch.zeros((steps, 4, batch), dtype=torch.int64, device=self._device)
        self._rates = torch.zeros(steps, device=self._device)
        self._position = torch.zeros(1, dtype=torch.int64, device=self._device)
        self._loss_sum = torch.zeros((), device=self._device)
        self._error_count = torch.zeros((), dtype=torch.int64, device=self._device)
        self._is_captured = is_captured
        self._graph: CudaGraph | None = None
        self._in_flight: deque[torch.cuda.Event] = deque()

    def on_stream(self) -> contextlib.AbstractContextManager[object]:
        """Make the run's stream the current one, on a device with streams."""
        return torch.cuda.stream(self.stream) if self.stream is not None else contextlib.nullcontext()

    def begin_epoch(self, order: Tensor, rates: Sequence[float]) -> None:
        """Start an epoch: `order` (steps, 4, batch) from `draw_order`, and the learning rate of each step."""
        self.net.train()
        if self.stream is not None:
            # The net, its state and the data were prepared on the default stream.
            self.stream.wait_stream(torch.cuda.default_stream(self._device))
        with self.on_stream():
            self._order[: len(order)].copy_(order)
            self._rates[: len(rates)].copy_(torch.tensor(rates))
            counters = [self._position, self._loss_sum, self._error_count]
            for counter in counters:
                counter.zero_()
            if self._is_captured and self._graph is None:
                changed = [*self.net.parameters(), *self.net.buffers(), *self.optimiser.momenta, *counters]
                self._graph = CudaGraph(self._body, changed)

    def __call__(self) -> None:
        """Train on the next minibatch of the epoch."""
        with self.on_stream():
            (self._graph or self._body)()
        self.record_event()

    def record_event(self) -> None:
        """Mark the work submitted to the run's stream so far as one item in flight."""
        if self.stream is not None:
            self._in_flight.append(self.stream.record_event())

    @property
    def can_submit(self) -> bool:
        """Whether another step may be submitted to the device; on a CPU always."""
        # Enough queued steps to keep a GPU busy, few enough that concurrent runs share it.
        return self._count_in_flight() < 4

    @property
    def is_finished(self) -> bool:
        """Whether the device has completed all submitted work; on a CPU always."""
        return self._count_in_flight() == 0

    def _count_in_flight(self) -> int:
        while self._in_flight and self._in_flight[0].query():
            self._in_flight.popleft()
        return len(self._in_flight)

    def epoch_metrics(self) -> tuple[float, float]:
        """Wait for the device; return mean loss (nats) and error (percent) over the epoch's minibatches so far."""
        with self.on_stream():
            seen = self._position.item() * self._order.shape[2]
            return self._loss_sum.item() / seen, 100 * self._error_count.item() / seen

    def _body(self) -> None:
        x, y = self._data.minibatch(self._order.index_select(0, self._position)[0])
        self.optimiser.lr.copy_(self._rates.index_select(0, self._position)[0])
        self.net.zero_grad()
        logits = forward(self.net, x, self.precision)
        loss = F.cross_entropy(logits, y)
        loss.backward()
        self.optimiser.step()
        self._loss_sum += loss.detach() * len(y)
        self._error_count += (logits.detach().argmax(dim=1) != y).sum()
        self._position += 1


def forward(net: nn.Module, x: Tensor, precision: str) -> Tensor:
    """Return logits (N, classes) float32; with precision bf16 the layers run in bfloat16 (autocast)."""
    with torch.autocast(x.device.type, dtype=torch.bfloat16, enabled=precision == "bf16"):
        logits = net(x)
    return logits.float()
