"""Kernels of a training step, counted on the CPU from the operators that it dispatches."""

import pytest
import torch
from support.kernels import KernelCounter
from support.trainers import on_gpu, train_steps, training
from torch.profiler import ProfilerActivity, profile


def kernels(depth, precision):
    t = training("residual", depth=depth, precision=precision)
    train_steps(t, 1)
    with KernelCounter() as counter:
        t.step()
    return counter


@pytest.mark.parametrize(
    ("precision", "per_block"),
    # Convolutions 2 + 4, batch norm 2 + 2, rectifiers 2 + 2, addition 1 + 1; PyTorch's batch norm 8 + 6.
    [("fp32", 16), ("bf16", 26)],
)
def test_a_block_launches_its_own_kernels_and_no_casts(precision, per_block):
    shallow, deep = (kernels(depth, precision) for depth in (8, 20))
    multi_tensor = ("_fused_sgd_", "_foreach_copy_")
    own = [sum(n for name, n in counter.kernels.items() if name not in multi_tensor) for counter in (shallow, deep)]
    assert own[1] - own[0] == 6 * per_block


def test_what_a_step_launches_beside_its_blocks_is_counted():
    counter = kernels(20, "fp32")
    assert counter.kernels["_fused_sgd_"] == 2  # 59 tensors
    assert counter.kernels["slice_backward"] == 0
    assert counter.kernels["avg_pool2d"] == counter.kernels["avg_pool2d_backward"] == 2
    half = kernels(20, "bf16").kernels
    assert half["_foreach_copy_"] == 2  # 19 gradients, 19 weights
    assert half["_to_copy"] == counter.kernels["_to_copy"] + 2  # images in, and the gradient of the pooled maps


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
def test_a_step_on_a_gpu_launches_the_kernels_that_are_counted(precision, measurement):
    # tf32 launches as many as fp32, and a CPU has none.
    counted = kernels(20, "fp32" if precision == "tf32" else precision).total
    t = on_gpu(depth=20, precision=precision, engine="eager")
    train_steps(t, 3)
    with profile(activities=[ProfilerActivity.CUDA]) as profiled:
        t.step()
        torch.cuda.synchronize()
    launched = sum(event.device_type == torch.autograd.DeviceType.CUDA for event in profiled.events())
    measurement(f"kernels of a step of residual-20, {precision}: {launched} launched, {counted} counted on a CPU")
    # cuDNN may take several kernels for one convolution, and others to change the layout of its maps.
    assert counted / 2 < launched < 3 * counted
