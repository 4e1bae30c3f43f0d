"""Batch norm, with a choice of kernels on CUDA."""

import torch
from torch import Tensor, nn


class BatchNorm(nn.BatchNorm2d):
    """Batch norm over all dimensions but the channels, of (N, C, H, W) or (N, C), without the counter of minibatches.

    Ioffe & Szegedy 2015. On CUDA by cuDNN's kernels or, with `uses_cudnn` False, by PyTorch's. cuDNN's channels-last
    kernels wait for all of their blocks to be on the device, and may stall while another run occupies it (pytorch issue
    80259). In bfloat16 PyTorch always takes its own.
    """

    uses_cudnn = True

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        # Unused with a fixed momentum, and updating it takes one kernel per layer and step.
        self.num_batches_tracked = None

    def forward(self, z: Tensor) -> Tensor:
        means, variances, momentum = self.running_mean, self.running_var, self.momentum or 0.0
        training, eps = self.training, self.eps
        if self.uses_cudnn:
            return torch.batch_norm(z, self.weight, self.bias, means, variances, training, momentum, eps, True)
        return torch.native_batch_norm(z, self.weight, self.bias, means, variances, training, momentum, eps)[0]
