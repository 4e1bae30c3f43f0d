"""Batch norm: PyTorch's layer, and the choice of its kernels."""

import pytest
import torch
from support.nets import small
from support.trainers import training
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from resdepth.models.batch_norm import BatchNorm


def test_it_is_pytorchs_layer_bit_for_bit():
    ours, theirs = BatchNorm(4), torch.nn.BatchNorm2d(4)
    for _ in range(3):
        z = torch.randn(8, 4, 5, 5)
        assert torch.equal(ours(z), theirs(z))
    assert torch.equal(ours.running_mean, theirs.running_mean)
    assert torch.equal(ours.running_var, theirs.running_var)
    assert torch.equal(ours.eval()(z), theirs.eval()(z))
    assert ours.state_dict().keys() == theirs.state_dict().keys() - {"num_batches_tracked"}


class Operators(TorchDispatchMode):
    """The names of the operators that are dispatched."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        self.names.append(operator.overloadpacket.__name__)
        return operator(*args, **(kwargs or {}))


@pytest.mark.skipif(
    not torch.backends.cudnn.is_available() and not torch.version.cuda, reason="needs a CUDA build of torch"
)
@pytest.mark.parametrize("is_training", [True, False])
@pytest.mark.parametrize(
    ("dtype", "uses_cudnn", "expected"),
    [
        (torch.float32, True, "cudnn_batch_norm"),
        (torch.float32, False, "native_batch_norm"),
        (torch.bfloat16, True, "native_batch_norm"),
    ],
)
def test_on_cuda_pytorch_takes_the_kernels_asked_for(dtype, uses_cudnn, expected, is_training):
    """Tensors without content on a CUDA device that need not be there: PyTorch chooses the kernels by itself."""
    with FakeTensorMode(), torch.device("cuda"):
        layer = BatchNorm(4).train(is_training)
        layer.uses_cudnn = uses_cudnn
        z = torch.empty(8, 4, 5, 5, dtype=dtype)
        with Operators() as operators:
            layer(z)
    assert expected in operators.names
    assert {name for name in operators.names if "batch_norm" in name} == {expected}


def test_pytorchs_own_kernels_compute_the_same_bit_for_bit():
    one, other = BatchNorm(4), BatchNorm(4)
    other.uses_cudnn = False
    for _ in range(2):
        z, w = (torch.randn(8, 4, 5, 5, generator=torch.Generator().manual_seed(0)).requires_grad_() for _ in range(2))
        outputs = one(z), other(w)
        assert torch.equal(*outputs)
        gradients = [torch.autograd.grad(y.square().sum(), x)[0] for y, x in zip(outputs, (z, w), strict=True)]
        assert torch.equal(*gradients)
    assert torch.equal(one.running_var, other.running_var)
    assert torch.equal(one.eval()(z), other.eval()(w))


@pytest.mark.parametrize("is_native", [False, True])
def test_native_batch_norm_is_set_in_every_layer(is_native):
    norms = [m for m in training(native_batch_norm=is_native).net.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert [norm.uses_cudnn for norm in norms] == [not is_native] * 7


def test_projections_have_it_too():
    norms = [m for m in small(shortcut="C").modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert len(norms) == 7 + 3
    assert {type(norm) for norm in norms} == {BatchNorm}
