"""Evaluation: loss and error on a split without augmentation, with batch norm's running statistics."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resdepth.data.device_data import DeviceData
from resdepth.training.cuda import CudaGraph, Stream


class Evaluation:
    """Evaluates a net on the `train` or `test` split: `start` submits the work to the device, `result` waits for it.

    With `is_captured`, full batches are replayed as a CUDA graph once `capture` was called. All work is submitted to
    `stream`.
    """

    def __init__(
        self, net: nn.Module, data: DeviceData, split: str, stream: Stream, *, is_captured: bool, batch: int = 1000
    ) -> None:
        self._net, self._data, self._stream = net, data, stream
        self._split = data.train if split == "train" else data.test
        device = self._split.labels.device
        self._batch = torch.arange(min(batch, len(self._split)), device=device)
        self._position = torch.zeros((), dtype=torch.int64, device=device)
        self._loss_sum = torch.zeros((), device=device)
        self._error_count = torch.zeros((), dtype=torch.int64, device=device)
        self._counters = [self._position, self._loss_sum, self._error_count]
        self._is_captured = is_captured
        self._graph: CudaGraph | None = None

    @torch.no_grad()
    def capture(self) -> None:
        """Capture the evaluation of a batch where that is asked for, once; load any saved state before."""
        if self._is_captured and self._graph is None:
            self._net.eval()
            self._graph = CudaGraph(self._next_batch, self._counters, self._stream)

    def release(self) -> None:
        """Free the captured graph."""
        if self._graph is not None:
            self._graph.release()
            self._graph = None

    @torch.no_grad()
    def start(self) -> None:
        self._net.eval()
        whole, rest = divmod(len(self._split), len(self._batch))
        with self._stream.as_current():
            for counter in self._counters:
                counter.zero_()
            for _ in range(whole):
                (self._graph or self._next_batch)()
            if rest:
                self._add(self._split.images[-rest:], self._split.labels[-rest:])

    def result(self) -> tuple[float, float]:
        """Return mean loss (nats) and error (percent)."""
        count = len(self._split)
        with self._stream.as_current():
            return self._loss_sum.item() / count, 100 * self._error_count.item() / count

    def _next_batch(self) -> None:
        index = self._position + self._batch
        self._add(self._split.images.index_select(0, index), self._split.labels.index_select(0, index))
        self._position += len(self._batch)

    def _add(self, images: Tensor, labels: Tensor) -> None:
        logits = self._net(self._data.normalise(images))
        self._loss_sum += F.cross_entropy(logits, labels, reduction="sum")
        self._error_count += (logits.argmax(dim=1) != labels).sum()
