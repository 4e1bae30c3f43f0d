"""The nets: layers, map sizes, and what a block computes."""

import itertools

import pytest
import torch
from support.nets import small

from resdepth.config.schema import DOWNSAMPLES, SHORTCUTS
from resdepth.variants import VARIANTS


@pytest.mark.parametrize("side", [1, 5, 7, 8])
@pytest.mark.parametrize(("variant", "shortcut", "downsample"), [*itertools.product(VARIANTS, SHORTCUTS, DOWNSAMPLES)])
def test_logits_have_one_number_per_class_on_any_map_size(variant, shortcut, downsample, side):
    net = small(variant, shortcut=shortcut, downsample=downsample, width=4)
    assert net(torch.rand(2, 3, side, side)).shape == (2, 10)


def test_depth_counts_the_weighted_layers():
    for depth in (8, 14, 20, 56):
        layers = [m for m in small(depth=depth).modules() if isinstance(m, torch.nn.Conv2d | torch.nn.Linear)]
        assert len(layers) == depth


def silence(block):
    with torch.no_grad():
        block.layer1.weight.zero_()
        block.layer2.weight.zero_()


@pytest.mark.parametrize("batch_norm", [True, False])
def test_a_residual_block_of_zero_weights_is_the_identity_and_a_plain_one_is_not(batch_norm):
    a = torch.rand(2, 16, 8, 8)  # not negative, as after a ReLU
    for variant in ("residual", "plain"):
        block = small(variant, batch_norm=batch_norm).blocks[0]
        silence(block)
        assert torch.equal(block(a), a) == (variant == "residual")


def test_a_block_computes_its_equation():
    block = small("residual").blocks[0].eval()
    a = torch.rand(2, 16, 8, 8)
    z = block.norm2(block.layer2(torch.relu(block.norm1(block.layer1(a)))))
    assert torch.equal(block(a), torch.relu(z + a))
    plain = small("plain").blocks[0].eval()
    plain.load_state_dict(block.state_dict())
    assert torch.equal(plain(a), torch.relu(z))


@pytest.mark.parametrize("batch_norm", [True, False])
def test_zero_init_residual_starts_every_block_as_the_identity(batch_norm):
    net = small("residual", depth=14, zero_init_residual=True, batch_norm=batch_norm)
    a = torch.rand(2, 16, 8, 8)
    assert torch.equal(net.blocks[1](net.blocks[0](a)), a)
    assert not torch.equal(small("residual", depth=14, batch_norm=batch_norm).blocks[0](a), a)


def test_zero_init_residual_leaves_a_plain_net_alone():
    one, other = small("plain", zero_init_residual=True), small("plain")
    assert all(torch.equal(p, q) for p, q in zip(one.parameters(), other.parameters(), strict=True))
