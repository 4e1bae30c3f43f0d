"""CUDA kernels of a training step, counted on a CPU from the operators that PyTorch dispatches."""

from collections import Counter

import torch
from torch.utils._python_dispatch import TorchDispatchMode

# Views and allocations launch nothing.
_FREE = {
    *("alias", "as_strided", "detach", "empty", "empty_like", "empty_strided", "expand", "permute", "select", "slice"),
    *("split", "t", "transpose", "unbind", "unsqueeze", "view", "_unsafe_view"),
}
# What launches another number than one, as a function of the operator's arguments.
_LAUNCHES = {
    "convolution": lambda args: 1 if args[2] is None else 2,  # a bias is added by a kernel of its own
    "convolution_backward": lambda args: sum(args[-1]),
    "constant_pad_nd": lambda args: 2 if any(n > 0 for n in args[1]) else 1,  # fill and copy; or crop
    "slice_backward": lambda _: 2,  # fill and copy
    "nll_loss_backward": lambda _: 2,  # fill and write
    # Tensors per launch by the number of lists: torch's MultiTensorApply.cuh.
    "_foreach_copy_": lambda args: -(-len(args[0]) // 64),
    "_fused_sgd_": lambda args: -(-len(args[0]) // 48),
}


class KernelCounter(TorchDispatchMode):
    """Counts, while it is entered, the kernels that the operators would launch on CUDA, by operator: `kernels`.

    An operator launches one kernel, where `_kernels` does not say otherwise. cuDNN normalises float32 in one kernel;
    PyTorch's own batch norm, which bfloat16 has, takes four, and three backward.
    """

    def __init__(self):
        super().__init__()
        self.kernels = Counter()

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        name = operator.overloadpacket.__name__
        self.kernels[name] += self._kernels(name, args)
        return operator(*args, **(kwargs or {}))

    @property
    def total(self):
        return self.kernels.total()

    def _kernels(self, name, args):
        if name in _FREE:
            return 0
        if name in _LAUNCHES:
            return _LAUNCHES[name](args)
        if "batch_norm" in name:
            return 1 if args[0].dtype is torch.float32 else 3 if "backward" in name else 4
        return 1
