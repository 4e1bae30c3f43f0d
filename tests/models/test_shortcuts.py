"""The shortcuts of options A, B and C."""

import pytest
import torch

from resdepth.config.schema import SHORTCUTS
from resdepth.models.shortcuts import ZeroPad, build_shortcut


def test_option_a_subsamples_and_pads_the_channels_evenly_on_both_sides():
    a = torch.rand(2, 16, 7, 7)
    out = ZeroPad(16, 32, stride=2)(a)
    assert out.shape == (2, 32, 4, 4)
    assert torch.equal(out[:, 8:24], a[:, :, ::2, ::2])
    assert not out[:, :8].any()
    assert not out[:, 24:].any()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("side", [1, 7, 8])
def test_option_a_is_slicing_bit_for_bit_and_its_gradient_keeps_the_memory_format(side, dtype):
    source = torch.randn(2, 16, side, side, dtype=dtype).contiguous(memory_format=torch.channels_last)
    a, b = (source.clone().requires_grad_() for _ in range(2))
    outputs = ZeroPad(16, 32, stride=2)(a), torch.nn.functional.pad(b[:, :, ::2, ::2], (0, 0, 0, 0, 8, 8))
    assert torch.equal(*outputs)
    flowing = torch.randn_like(outputs[0])
    inner = torch.autograd.grad(outputs[0], a, flowing)[0]
    outputs[1].backward(flowing)
    assert torch.equal(inner, b.grad)
    assert inner.is_contiguous(memory_format=torch.channels_last)


def test_option_a_cannot_drop_channels():
    with pytest.raises(ValueError, match="cannot reduce 8 to 4"):
        ZeroPad(8, 4, stride=1)


def test_projections_stand_where_the_options_say():
    def is_projection(option, changes):
        module = build_shortcut(option, 4, 8 if changes else 4, 2 if changes else 1, batch_norm=True)
        return any(isinstance(m, torch.nn.Conv2d) for m in module.modules())

    found = {(o, c): is_projection(o, c) for o in SHORTCUTS for c in (False, True)}
    assert [k for k, v in found.items() if v] == [("B", True), ("C", False), ("C", True)]
