"""Stochastic gradient descent with momentum and weight decay."""

from collections.abc import Iterable
from functools import partial

import torch
from torch import Tensor, nn
from torch.optim.sgd import sgd

from resdepth.config.schema import RecipeConfig
from resdepth.models.batch_norm import BatchNorm
from resdepth.models.net import Net

# The function behind torch.optim.SGD, whose own `step` first imports torch._dynamo: 1 to 2 seconds per process.
_update = partial(sgd, fused=True, dampening=0.0, nesterov=False, maximize=False)


class SGD:
    """In-place SGD, fused over all tensors: v = m v + (g + d w), w = w - lr v.

    `lr` is a tensor on the device, so that a captured graph reads the learning rate of its step. The momenta start at
    zero and keep their addresses. Weight decay applies to weights, and to biases and batch norm as the recipe sets.

    With `half`, the parameters of all layers but the classifier become bfloat16 copies of float32 `masters`, which are
    updated in their place (Micikevicius et al. 2018, section 3.1). A step casts all gradients and all weights, in a
    kernel for every 64 tensors, where autocast takes two kernels per layer.
    """

    def __init__(self, net: Net, recipe: RecipeConfig, device: torch.device, *, half: bool = False) -> None:
        self.lr = torch.tensor(recipe.lr, dtype=torch.float32, device=device)
        self._momentum = recipe.momentum
        self._parameters = list(net.parameters())
        self._copies: dict[str, nn.Parameter] = {}
        self.masters: dict[str, Tensor] = {}
        decayed: list[Tensor] = []
        undecayed: list[Tensor] = []
        for path, module in net.named_modules():
            is_norm = isinstance(module, BatchNorm)
            is_half = half and isinstance(module, nn.Conv2d | nn.Linear) and module is not net.classifier
            for name, parameter in module.named_parameters(recurse=False):
                updated: Tensor = parameter
                if is_half:
                    updated = self._make_master(f"{path}.{name}", parameter)
                is_decayed = recipe.decay_bn if is_norm else (recipe.decay_bias or name != "bias")
                (decayed if is_decayed else undecayed).append(updated)
        self.groups = [(decayed, recipe.weight_decay), (undecayed, 0.0)]
        self._momenta = [[torch.zeros_like(p) for p in part] if recipe.momentum else [] for part, _ in self.groups]

    def _make_master(self, name: str, parameter: nn.Parameter) -> Tensor:
        master = parameter.detach().clone()
        # At a fixed address, which a captured graph needs.
        master.grad = torch.zeros_like(master)
        parameter.data = parameter.data.bfloat16()
        self.masters[name], self._copies[name] = master, parameter
        return master

    @property
    def momenta(self) -> list[Tensor]:
        return [momentum for part in self._momenta for momentum in part]

    @property
    def changed(self) -> list[Tensor]:
        """All tensors that a step changes, gradients apart."""
        return [*self._parameters, *self.masters.values(), *self.momenta]

    def zero_grad(self) -> None:
        """Drop the gradients, so that the backward pass writes them and need not add to them."""
        for parameter in self._parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Update all parameters by their gradients."""
        if self._copies:
            # The only operation on lists of tensors that casts; PyTorch has no public name for it.
            torch._foreach_copy_(_gradients(self.masters.values()), _gradients(self._copies.values()))
        for (parameters, decay), momenta in zip(self.groups, self._momenta, strict=True):
            momentum, rate = self._momentum, self.lr
            _update(parameters, _gradients(parameters), list(momenta), lr=rate, momentum=momentum, weight_decay=decay)
        self.cast_masters()

    @torch.no_grad()
    def cast_masters(self) -> None:
        """Copy the masters into the bfloat16 parameters, after the masters were changed."""
        if self._copies:
            torch._foreach_copy_(list(self._copies.values()), list(self.masters.values()))


def _gradients(parameters: Iterable[Tensor]) -> list[Tensor]:
    return [parameter.grad for parameter in parameters if parameter.grad is not None]
