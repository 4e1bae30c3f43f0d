"""Training steps of SGD, with losses and errors summed on the device. He et al. 2015, section 4.2.

Every engine runs the same step. Minibatch indices and learning rates are read from tables on the device, at a position
counted on the device: no step waits for the host, and a captured graph can be replayed.
"""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resdepth.data.device_data import DeviceData
from resdepth.training.cuda import CudaGraph, Stream
from resdepth.training.schedule import Schedule
from resdepth.training.sgd import SGD

# Maps outputs, images and labels of a minibatch to the mean loss and the number of errors.
Objective = Callable[[Tensor, Tensor, Tensor], tuple[Tensor, Tensor]]


def classification(logits: Tensor, _images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean cross-entropy (nats) and the number of images whose largest logit is not their class."""
    return F.cross_entropy(logits, labels), (logits.detach().argmax(dim=1) != labels).sum()


class Step:
    """Trains `net` on one minibatch per call; the sums of losses and errors are read once per epoch (`epoch_metrics`).

    With `is_captured`, the step is captured as a CUDA graph at the beginning of the first epoch; load any saved state
    before. All work is submitted to `stream`.
    """

    def __init__(
        self, net: nn.Module, data: DeviceData, optimiser: SGD, schedule: Schedule, stream: Stream, *,
        is_captured: bool, objective: Objective = classification,
    ) -> None:  # fmt: skip
        self.net, self.optimiser, self.stream, self._objective = net, optimiser, stream, objective
        self._data, device = data, data.mean.device
        steps, batch = schedule.steps_per_epoch, schedule.batch_size
        self._order = torch.zeros((steps, 4, batch), dtype=torch.int64, device=device)
        self._rates = torch.zeros(steps, device=device)
        self._position = torch.zeros(1, dtype=torch.int64, device=device)
        self._loss_sum = torch.zeros((), device=device)
        self._error_count = torch.zeros((), dtype=torch.int64, device=device)
        self._one = torch.ones((), device=device)
        self._is_captured = is_captured
        self._graph: CudaGraph | None = None

    def begin_epoch(self, order: Tensor, rates: Sequence[float]) -> None:
        """Start an epoch: `order` (steps, 4, batch) from `draw_order`, and the learning rate of each step."""
        self.net.train()
        self.stream.wait_for_default()
        with self.stream.as_current():
            self._order[: len(order)].copy_(order)
            self._rates[: len(rates)].copy_(torch.tensor(rates))
            counters = [self._position, self._loss_sum, self._error_count]
            for counter in counters:
                counter.zero_()
            if self._is_captured and self._graph is None:
                changed = [*self.net.buffers(), *self.optimiser.changed, *counters]
                self._graph = CudaGraph(self._body, changed, self.stream)

    def __call__(self) -> None:
        """Train on the next minibatch of the epoch."""
        with self.stream.as_current():
            (self._graph or self._body)()
        self.stream.record_event()

    def epoch_metrics(self) -> tuple[float, float]:
        """Wait for the device; return mean loss (nats) and error (percent) over the epoch's minibatches so far."""
        with self.stream.as_current():
            seen = self._position.item() * self._order.shape[2]
            return self._loss_sum.item() / seen, 100 * self._error_count.item() / seen

    def release(self) -> None:
        """Free the captured graph."""
        if self._graph is not None:
            self._graph.release()
            self._graph = None

    def _body(self) -> None:
        x, y = self._data.minibatch(self._order.index_select(0, self._position)[0])
        torch.index_select(self._rates, 0, self._position, out=self.optimiser.lr.view(1))
        self.optimiser.zero_grad()
        loss, errors = self._objective(self.net(x), x, y)
        loss.backward(self._one)
        self.optimiser.step()
        self._loss_sum += loss.detach() * len(y)
        self._error_count += errors
        self._position += 1
