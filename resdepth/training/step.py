"""One step of SGD, and the sums it leaves on the device. He et al. 2015, section 4.2."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from resdepth.config import RecipeConfig
from resdepth.data.augment import EpochOrder
from resdepth.data.resident import ResidentData


class Step:
    """Trains `net` on one minibatch at a time.

    Losses and errors are summed in device tensors and read once an epoch (`totals`), so that the host never waits for
    the device inside an epoch.
    """

    def __init__(self, net: nn.Module, data: ResidentData, recipe: RecipeConfig, precision: str) -> None:
        self.net, self.recipe, self.precision = net, recipe, precision
        self._data = data
        self.device = data.mean.device
        self.optimiser = build_optimiser(net, recipe, self.device)
        self._loss_sum = torch.zeros((), device=self.device)
        self._error_count = torch.zeros((), dtype=torch.int64, device=self.device)
        self._seen = 0

    def begin_epoch(self, order: EpochOrder) -> None:
        self._order = order.to(self.device)
        self._loss_sum.zero_()
        self._error_count.zero_()
        self._seen = 0
        self.net.train()

    def __call__(self, step: int, lr: float) -> None:
        """Train on minibatch `step` of the epoch with the learning rate `lr`."""
        x, y = self._data.minibatch(self._order, step, self.recipe)
        for group in self.optimiser.param_groups:
            group["lr"] = lr
        self.optimiser.zero_grad(set_to_none=True)
        logits = forward(self.net, x, self.precision)
        loss = F.cross_entropy(logits, y)
        loss.backward()
        self.optimiser.step()
        self._loss_sum += loss.detach() * len(y)
        self._error_count += (logits.detach().argmax(dim=1) != y).sum()
        self._seen += len(y)

    def totals(self) -> tuple[float, float]:
        """Mean loss (nats) and error (percent) over the epoch's minibatches so far. Waits for the device."""
        return self._loss_sum.item() / self._seen, 100 * self._error_count.item() / self._seen


def forward(net: nn.Module, x: Tensor, precision: str) -> Tensor:
    """Logits (N, classes) in float32; the layers run in bfloat16 where `precision` is bf16."""
    with torch.autocast(x.device.type, dtype=torch.bfloat16, enabled=precision == "bf16"):
        logits = net(x)
    return logits.float()


@torch.no_grad()
def evaluate(net: nn.Module, data: ResidentData, split: str, precision: str, batch: int = 1000) -> tuple[float, float]:
    """Mean loss (nats) and error (percent) on the clean `train` or `test` split, with the running statistics."""
    part = getattr(data, split)
    net.eval()
    loss_sum = torch.zeros((), device=part.labels.device)
    error_count = torch.zeros((), dtype=torch.int64, device=part.labels.device)
    for images, y in zip(part.images.split(batch), part.labels.split(batch), strict=True):
        x = data.normalise(images).contiguous(memory_format=torch.channels_last)
        logits = forward(net, x, precision)
        loss_sum += F.cross_entropy(logits, y, reduction="sum")
        error_count += (logits.argmax(dim=1) != y).sum()
    return loss_sum.item() / len(part), 100 * error_count.item() / len(part)


def build_optimiser(net: nn.Module, recipe: RecipeConfig, device: torch.device) -> torch.optim.SGD:
    """SGD with momentum; weight decay on every weight, and on biases and batch norm as the recipe says."""
    decayed: list[nn.Parameter] = []
    free: list[nn.Parameter] = []
    for module in net.modules():
        is_norm = isinstance(module, nn.BatchNorm2d)
        for name, parameter in module.named_parameters(recurse=False):
            is_decayed = recipe.decay_bn if is_norm else (recipe.decay_bias or name != "bias")
            (decayed if is_decayed else free).append(parameter)
    groups = [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": free, "weight_decay": 0.0}]
    on_cuda = device.type == "cuda"
    return torch.optim.SGD(
        [g for g in groups if g["params"]], lr=recipe.lr, momentum=recipe.momentum, fused=on_cuda, foreach=not on_cuda
    )
