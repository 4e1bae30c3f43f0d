"""Stochastic gradient descent with momentum and weight decay."""

from functools import partial

import torch
from torch import Tensor, nn
from torch.optim.sgd import sgd

from resdepth.config.schema import RecipeConfig

# The function behind torch.optim.SGD, whose own `step` first imports torch._dynamo: 1 to 2 seconds per process.
_update = partial(sgd, fused=True, dampening=0.0, nesterov=False, maximize=False)


class SGD:
    """In-place SGD, fused over all tensors: v = m v + (g + d w), w = w - lr v.

    `lr` is a tensor on the device, so that a captured graph reads the learning rate of its step. The momenta start at
    zero and keep their addresses. Weight decay applies to weights, and to biases and batch norm as the recipe sets.
    """

    def __init__(self, net: nn.Module, recipe: RecipeConfig, device: torch.device) -> None:
        self.lr = torch.tensor(recipe.lr, device=device)
        self._momentum = recipe.momentum
        decayed: list[Tensor] = []
        undecayed: list[Tensor] = []
        for module in net.modules():
            is_norm = isinstance(module, nn.BatchNorm2d)
            for name, parameter in module.named_parameters(recurse=False):
                is_decayed = recipe.decay_bn if is_norm else (recipe.decay_bias or name != "bias")
                (decayed if is_decayed else undecayed).append(parameter)
        self.groups = [(decayed, recipe.weight_decay), (undecayed, 0.0)]
        self._momenta = [[torch.zeros_like(p) for p in part] if recipe.momentum else [] for part, _ in self.groups]

    @property
    def momenta(self) -> list[Tensor]:
        return [momentum for part in self._momenta for momentum in part]

    @torch.no_grad()
    def step(self) -> None:
        for (parameters, decay), momenta in zip(self.groups, self._momenta, strict=True):
            gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
            _update(parameters, gradients, list(momenta), lr=self.lr, momentum=self._momentum, weight_decay=decay)
