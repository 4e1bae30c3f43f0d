"""Blocks that change nothing: of zero weights in a residual net, of identity matrices in a plain one."""

import pytest
import torch
from support.probes import data_of, probed

from resdepth.config.schema import ModelConfig
from resdepth.data.seeding import generator
from resdepth.models.net import Block
from resdepth.probes.measures.insertion import channels_at, dirac_block, grow, resting_block, zero_block
from resdepth.probes.nets import sample

OPTIONS = [(a, b) for a in ("conv", "dense") for b in (True, False)]


def activations(architecture, width=6):
    shape = (32, width, 5, 5) if architecture == "conv" else (32, width)
    return torch.rand(shape, generator=torch.Generator().manual_seed(1)) * torch.arange(1, 33).view(
        -1, *[1] * (len(shape) - 1)
    )


@pytest.mark.parametrize(("architecture", "batch_norm"), OPTIONS)
def test_a_block_of_zero_weights_is_the_identity_in_a_residual_net_and_zero_in_a_plain_one(architecture, batch_norm):
    model, a = ModelConfig(architecture=architecture, batch_norm=batch_norm), activations(architecture)
    for is_training in (True, False):
        assert torch.equal(zero_block(model, "residual", 6).train(is_training)(a), a)
        assert not zero_block(model, "plain", 6).train(is_training)(a).any()


@pytest.mark.parametrize(("architecture", "batch_norm"), OPTIONS)
def test_identity_layers_are_the_identity_up_to_rounding(architecture, batch_norm):
    model, a = ModelConfig(architecture=architecture, batch_norm=batch_norm), activations(architecture)
    out = dirac_block(model, "plain", 6).eval()(a)
    assert torch.allclose(out, a, rtol=1e-6)
    assert batch_norm or torch.equal(out, a)


@pytest.mark.parametrize("architecture", ["conv", "dense"])
def test_with_the_activations_statistics_identity_layers_are_the_identity_in_training_mode_too(architecture):
    model, a = ModelConfig(architecture=architecture), activations(architecture)
    flat = a.transpose(0, 1).flatten(1)
    block = dirac_block(model, "plain", 6, (flat.mean(dim=1), flat.var(dim=1, correction=0)))
    assert torch.allclose(block.eval()(a), a, atol=1e-4)
    assert torch.allclose(block.train()(a), a, atol=1e-4)
    assert not torch.allclose(dirac_block(model, "plain", 6).train()(a), a, atol=1e-1)


@pytest.mark.parametrize(("architecture", "batch_norm"), OPTIONS)
def test_a_resting_block_is_the_identity_and_gets_a_gradient(architecture, batch_norm):
    model, a = ModelConfig(architecture=architecture, batch_norm=batch_norm), activations(architecture)
    block = resting_block(model, "residual", 6, torch.Generator().manual_seed(0))
    assert torch.equal(block(a), a)
    (block(a) * torch.randn_like(a)).sum().backward()
    last = block.norm2 if batch_norm else block.layer2
    assert last.weight.grad.abs().max() > 0


@pytest.mark.parametrize(("count", "places"), [(1, [3]), (2, [2, 3]), (3, [1, 2, 3]), (7, [1, 1, 1, 2, 2, 3, 3])])
def test_blocks_are_added_evenly_and_change_nothing(count, places):
    net = probed("residual").build(data_of(probed())).eval()
    images, _ = sample(data_of(probed()), 20)
    before, seen = net(images), []

    def make(place, width):
        seen.append((place, width))
        return resting_block(probed().config.model, "residual", width, generator(0, 0))

    grow(net, count, make)
    assert [place for place, _ in seen] == places
    assert all(width == {1: 4, 2: 8, 3: 16}[place] for place, width in seen)
    assert len(net.blocks) == 3 + count
    assert torch.equal(net.eval()(images), before)


@pytest.mark.parametrize(("architecture", "widths"), [("conv", [4, 4, 8, 16]), ("dense", [12, 12, 12, 16])])
def test_the_channels_at_a_place_are_those_of_the_activations(architecture, widths):
    net = probed(architecture=architecture).build(data_of(probed()))
    assert [channels_at(net, place) for place in range(4)] == widths
    a = net.enter(sample(data_of(probed()), 5)[0])
    for place, block in enumerate(net.blocks):
        assert isinstance(block, Block)
        assert a.shape[1] == channels_at(net, place)
        a = block(a)
