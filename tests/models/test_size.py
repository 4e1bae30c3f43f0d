"""Parameters, multiply-adds and memory by formula, against the paper and against the nets."""

import pytest
import torch
from support.nets import count

from resdepth.config.schema import SHORTCUTS, ModelConfig
from resdepth.models.build import build
from resdepth.models.conv import ConvNet
from resdepth.models.size import layer_outputs, min_memory_bytes, multiply_adds, parameters
from resdepth.variants import VARIANTS

PAPER_PARAMETERS = {20: 269_722, 32: 464_154, 44: 658_586, 56: 853_018, 110: 1_727_962, 1202: 19_421_274}
PAPER_MEGA_MULTIPLY_ADDS = {20: 40.6, 32: 68.9, 44: 97.2, 56: 125.5, 110: 252.9, 1202: 2829}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(("depth", "expected"), PAPER_PARAMETERS.items())
def test_nets_have_the_papers_parameter_counts(depth, variant, expected):
    with torch.device("meta"):
        net = ConvNet(depth, VARIANTS[variant], ModelConfig(), channels=3, classes=10)
    assert count(net) == expected
    assert parameters(depth, variant, ModelConfig(), (3, 32, 32), classes=10) == expected


@pytest.mark.parametrize(("depth", "expected"), PAPER_MEGA_MULTIPLY_ADDS.items())
def test_multiply_adds_are_the_papers(depth, expected):
    counted = multiply_adds(depth, ModelConfig(), (3, 32, 32), classes=10)
    assert counted / 1e6 == pytest.approx(expected, abs=0.5 if depth == 1202 else 0.06)


@pytest.mark.parametrize("depth", [8, 14, 20])
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("shortcut", SHORTCUTS)
@pytest.mark.parametrize("batch_norm", [True, False])
def test_formula_counts_the_parameters_of_every_option(depth, variant, shortcut, batch_norm):
    model = ModelConfig(shortcut=shortcut, batch_norm=batch_norm, width=5)
    with torch.device("meta"):
        net = ConvNet(depth, VARIANTS[variant], model, channels=1, classes=7)
    assert count(net) == parameters(depth, variant, model, (1, 8, 8), classes=7)


@pytest.mark.parametrize("batch_norm", [True, False])
@pytest.mark.parametrize("downsample", ["stride", "max"])
@pytest.mark.parametrize("variant", ["plain", "residual"])
def test_the_least_memory_is_no_more_than_a_step_keeps_and_no_less_than_half(variant, downsample, batch_norm):
    model = ModelConfig(width=4, batch_norm=batch_norm, downsample=downsample)
    net = build(20, variant, model, (3, 15, 15), 10, torch.Generator())
    kept = {}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        net(torch.zeros(16, 3, 15, 15)).sum().backward()
    # The weights are among what is kept for the backward pass; gradients and momenta are as large.
    measured = sum(kept.values()) + 2 * 4 * sum(p.numel() for p in net.parameters())
    estimate = min_memory_bytes(20, variant, model, (3, 15, 15), 10, 16, half=False)
    assert measured / 2 < estimate <= measured


@pytest.mark.parametrize(("depth", "size"), [(8, 8), (20, 7), (14, 32)])
def test_layer_outputs_are_those_of_the_net(depth, size):
    net = build(depth, "residual", ModelConfig(), (3, size, size), 10, torch.Generator())
    counted = []
    for module in net.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_hook(lambda _m, _i, out: counted.append(out.numel()))
    net.eval()(torch.zeros(1, 3, size, size))
    assert sum(counted) == layer_outputs(depth, ModelConfig(), (3, size, size))


@pytest.mark.parametrize("keys", [{"width": 4}, {"architecture": "dense", "widths": [16, 16]}])
def test_with_recomputed_blocks_the_least_memory_is_that_of_their_inputs(keys):
    model, image = ModelConfig(**keys), (3, 16, 16)
    net = build(56, "residual", model, image, 10, torch.Generator())
    inputs = []
    for block in net.blocks:
        block.register_forward_pre_hook(lambda _module, given: inputs.append(4 * given[0].numel()))
    net(torch.zeros(32, *image))
    weights = 3 * 4 * count(net)
    estimate = min_memory_bytes(56, "residual", model, image, 10, 32, half=False, recomputed=True)
    assert estimate - weights == pytest.approx(sum(inputs), rel=0.1)
