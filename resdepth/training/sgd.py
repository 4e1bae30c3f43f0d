"""Stochastic gradient descent with momentum and weight decay."""

import torch
from torch import Tensor, nn

from resdepth.config.schema import RecipeConfig


class SGD:
    """v = m v + (g + d w), w = w - lr v; with the kernel of `torch.optim.SGD(fused=True)`, for all tensors at once.

    `lr` is a tensor on the device, so that a captured graph reads the rate of its step; the momenta start at zero and
    stay where they are. Torch's class would load Dynamo first, for seconds. Weight decay falls on every weight, and on
    biases and batch norm as the recipe says.
    """

    def __init__(self, net: nn.Module, recipe: RecipeConfig, device: torch.device) -> None:
        self.lr = torch.tensor(recipe.lr, device=device)
        self._momentum = recipe.momentum
        decayed: list[nn.Parameter] = []
        free: list[nn.Parameter] = []
        for module in net.modules():
            is_norm = isinstance(module, nn.BatchNorm2d)
            for name, parameter in module.named_parameters(recurse=False):
                is_decayed = recipe.decay_bn if is_norm else (recipe.decay_bias or name != "bias")
                (decayed if is_decayed else free).append(parameter)
        self.groups = [(part, decay) for part, decay in ((decayed, recipe.weight_decay), (free, 0.0)) if part]
        self._buffers = [self._zeros_like(part) for part, _ in self.groups]

    def _zeros_like(self, parameters: list[nn.Parameter]) -> list[Tensor]:
        return [torch.zeros_like(p, requires_grad=False) for p in parameters] if self._momentum else []

    @property
    def momenta(self) -> list[Tensor]:
        return [momentum for part in self._buffers for momentum in part]

    def zero_grad(self) -> None:
        for parameters, _ in self.groups:
            for parameter in parameters:
                parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        for (parameters, decay), momenta in zip(self.groups, self._buffers, strict=True):
            torch._fused_sgd_(
                tuple(parameters),
                [parameter.grad for parameter in parameters if parameter.grad is not None],
                momenta,
                weight_decay=decay,
                momentum=self._momentum,
                lr=self.lr,
                dampening=0.0,
                nesterov=False,
                maximize=False,
                is_first_step=False,
            )
