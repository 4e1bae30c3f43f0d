"""The nets: sizes, shapes, shortcuts, and what a block does with its input."""

import itertools

import pytest
import torch

from resdepth.config.schema import DOWNSAMPLES, SHORTCUTS, ModelConfig
from resdepth.models.build import build
from resdepth.models.conv import ConvNet
from resdepth.models.shortcuts import ZeroPad, build_shortcut
from resdepth.models.size import min_memory_bytes, multiply_adds, parameters
from resdepth.variants import VARIANTS

PAPER_PARAMETERS = {20: 269_722, 32: 464_154, 44: 658_586, 56: 853_018, 110: 1_727_962, 1202: 19_421_274}
PAPER_MEGA_MULTIPLY_ADDS = {20: 40.6, 32: 68.9, 44: 97.2, 56: 125.5, 110: 252.9, 1202: 2829}


def small(variant="residual", depth=8, seed=0, channels=3, **model):
    return build(depth, variant, ModelConfig(**model), channels, 10, torch.Generator().manual_seed(seed))


def count(net):
    return sum(p.numel() for p in net.parameters())


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(("depth", "expected"), PAPER_PARAMETERS.items())
def test_nets_have_the_papers_parameter_counts(depth, variant, expected):
    with torch.device("meta"):
        net = ConvNet(depth, VARIANTS[variant], ModelConfig(), channels=3, classes=10)
    assert count(net) == expected
    assert parameters(depth, variant, ModelConfig(), channels=3, classes=10) == expected


@pytest.mark.parametrize(("depth", "expected"), PAPER_MEGA_MULTIPLY_ADDS.items())
def test_multiply_adds_are_the_papers(depth, expected):
    counted = multiply_adds(depth, ModelConfig(), channels=3, height=32, width=32, classes=10)
    assert counted / 1e6 == pytest.approx(expected, abs=0.5 if depth == 1202 else 0.06)


@pytest.mark.parametrize("depth", [8, 14, 20])
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("shortcut", SHORTCUTS)
@pytest.mark.parametrize("batch_norm", [True, False])
def test_formula_counts_the_parameters_of_every_option(depth, variant, shortcut, batch_norm):
    model = ModelConfig(shortcut=shortcut, batch_norm=batch_norm, width=5)
    with torch.device("meta"):
        net = ConvNet(depth, VARIANTS[variant], model, channels=1, classes=7)
    assert count(net) == parameters(depth, variant, model, channels=1, classes=7)


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
        block.conv1.weight.zero_()
        block.conv2.weight.zero_()


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
    z = block.norm2(block.conv2(torch.relu(block.norm1(block.conv1(a)))))
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


def test_option_a_subsamples_and_pads_the_channels_evenly_on_both_sides():
    a = torch.rand(2, 16, 7, 7)
    out = ZeroPad(16, 32, stride=2)(a)
    assert out.shape == (2, 32, 4, 4)
    assert torch.equal(out[:, 8:24], a[:, :, ::2, ::2])
    assert not out[:, :8].any()
    assert not out[:, 24:].any()


def test_option_a_cannot_drop_channels():
    with pytest.raises(ValueError, match="cannot take 8 to 4"):
        ZeroPad(8, 4, stride=1)


def test_projections_stand_where_the_options_say():
    def is_projection(option, changes):
        module = build_shortcut(option, 4, 8 if changes else 4, 2 if changes else 1, batch_norm=True)
        return any(isinstance(m, torch.nn.Conv2d) for m in module.modules())

    found = {(o, c): is_projection(o, c) for o in SHORTCUTS for c in (False, True)}
    assert [k for k, v in found.items() if v] == [("B", True), ("C", False), ("C", True)]


def test_plain_and_residual_nets_of_one_seed_share_their_weights():
    plain, residual = small("plain", depth=14), small("residual", depth=14)
    assert all(torch.equal(p, q) for p, q in zip(plain.parameters(), residual.parameters(), strict=True))


def test_initialisation_is_he_and_follows_its_seed_only():
    net = small(depth=20, width=64)
    weight = net.blocks[-1].conv2.weight
    assert weight.std().item() == pytest.approx((2 / (9 * 256)) ** 0.5, rel=0.01)
    torch.manual_seed(5)
    assert torch.equal(weight, small(depth=20, width=64).blocks[-1].conv2.weight)
    assert not torch.equal(weight, small(depth=20, width=64, seed=1).blocks[-1].conv2.weight)


@pytest.mark.parametrize("batch_norm", [True, False])
@pytest.mark.parametrize("downsample", ["stride", "max"])
@pytest.mark.parametrize("variant", ["plain", "residual"])
def test_the_least_memory_is_no_more_than_a_step_keeps_and_no_less_than_half(variant, downsample, batch_norm):
    model = ModelConfig(width=4, batch_norm=batch_norm, downsample=downsample)
    net = build(20, variant, model, 3, 10, torch.Generator())
    kept = {}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        net(torch.zeros(16, 3, 15, 15)).sum().backward()
    # The weights are among what is kept for the backward pass; gradients and momenta are as large.
    measured = sum(kept.values()) + 2 * 4 * sum(p.numel() for p in net.parameters())
    estimate = min_memory_bytes(20, variant, model, 3, 15, 15, 10, 16, half=False)
    assert measured / 2 < estimate <= measured
