"""Loss and error on a clean split, with the running statistics."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resdepth.data.device_data import DeviceData
from resdepth.training.cuda_graph import CudaGraph
from resdepth.training.step import forward


class Evaluation:
    """The net on the clean `train` or `test` split: `start` hands the work to the device, `result` waits for it.

    `is_captured` replays the whole batches as a CUDA graph; it must be captured and started on the run's stream.
    """

    def __init__(
        self,
        net: nn.Module,
        data: DeviceData,
        split: str,
        precision: str,
        *,
        batch: int = 1000,
        is_captured: bool = False,
    ) -> None:
        self._net, self._data, self._precision = net, data, precision
        self._part = data.train if split == "train" else data.test
        device = self._part.labels.device
        self._batch = torch.arange(min(batch, len(self._part)), device=device)
        self._position = torch.zeros((), dtype=torch.int64, device=device)
        self._loss_sum = torch.zeros((), device=device)
        self._error_count = torch.zeros((), dtype=torch.int64, device=device)
        self._is_captured = is_captured
        self._graph: CudaGraph | None = None

    @torch.no_grad()
    def start(self) -> None:
        self._net.eval()
        for counter in self._state():
            counter.zero_()
        if self._is_captured and self._graph is None:
            self._graph = CudaGraph(self._next_batch, self._state())
        whole, rest = divmod(len(self._part), len(self._batch))
        for _ in range(whole):
            if self._graph is not None:
                self._graph()
            else:
                self._next_batch()
        if rest:
            self._add(self._part.images[-rest:], self._part.labels[-rest:])

    def result(self) -> tuple[float, float]:
        """Mean loss (nats) and error (percent)."""
        count = len(self._part)
        return self._loss_sum.item() / count, 100 * self._error_count.item() / count

    @torch.no_grad()
    def _next_batch(self) -> None:
        index = self._position + self._batch
        self._add(self._part.images.index_select(0, index), self._part.labels.index_select(0, index))
        self._position += len(self._batch)

    def _add(self, images: Tensor, labels: Tensor) -> None:
        x = self._data.normalise(images).contiguous(memory_format=torch.channels_last)
        logits = forward(self._net, x, self._precision)
        self._loss_sum += F.cross_entropy(logits, labels, reduction="sum")
        self._error_count += (logits.argmax(dim=1) != labels).sum()

    def _state(self) -> list[Tensor]:
        return [self._position, self._loss_sum, self._error_count]
