"""Batch norm: PyTorch's layer, and the choice of its kernels."""

import pytest
import torch
from support.nets import small
from support.trainers import training

from resdepth.models.batch_norm import BatchNorm2d


def test_it_is_pytorchs_layer_bit_for_bit():
    ours, theirs = BatchNorm2d(4), torch.nn.BatchNorm2d(4)
    for _ in range(3):
        z = torch.randn(8, 4, 5, 5)
        assert torch.equal(ours(z), theirs(z))
    assert torch.equal(ours.running_mean, theirs.running_mean)
    assert torch.equal(ours.running_var, theirs.running_var)
    assert torch.equal(ours.eval()(z), theirs.eval()(z))
    assert ours.state_dict().keys() == theirs.state_dict().keys() - {"num_batches_tracked"}


@pytest.mark.parametrize("is_native", [False, True])
def test_native_batch_norm_asks_every_layer_for_pytorchs_kernels(is_native, monkeypatch):
    t, asked, original = training(native_batch_norm=is_native), [], torch.batch_norm
    monkeypatch.setattr(torch, "batch_norm", lambda *args: asked.append(args[-1]) or original(*args))
    next(t.epochs())
    assert len(asked) == 7 * 5  # four steps and one batch of evaluation
    assert set(asked) == {not is_native}


def test_projections_have_it_too():
    norms = [m for m in small(shortcut="C").modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert len(norms) == 7 + 3
    assert {type(norm) for norm in norms} == {BatchNorm2d}
