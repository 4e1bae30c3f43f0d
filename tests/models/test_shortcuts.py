"""The shortcuts of options A, B and C."""

import pytest
import torch

from resdepth.config.schema import SHORTCUTS, ModelConfig
from resdepth.models.conv import conv_block
from resdepth.models.dense import dense_block
from resdepth.models.shortcuts import PadOrTruncate, ZeroPad
from resdepth.variants import VARIANTS


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


@pytest.mark.parametrize("architecture", ["conv", "dense"])
def test_projections_stand_where_the_options_say(architecture):
    def shortcut(option, changes):
        model, residual, width = ModelConfig(shortcut=option), VARIANTS["residual"], 8 if changes else 4
        if architecture == "conv":
            return conv_block(4, width, 2 if changes else 1, model, residual).shortcut
        return dense_block(4, width, model, residual).shortcut

    found = {(o, c): any(p.ndim > 1 for p in shortcut(o, c).parameters()) for o in SHORTCUTS for c in (False, True)}
    assert [k for k, v in found.items() if v] == [("B", True), ("C", False), ("C", True)]


def test_option_a_of_dense_nets_pads_with_zeros_or_truncates():
    a = torch.rand(2, 5)
    assert torch.equal(PadOrTruncate(5, 7)(a), torch.cat([a, torch.zeros(2, 2)], dim=1))
    assert torch.equal(PadOrTruncate(5, 3)(a), a[:, :3])
