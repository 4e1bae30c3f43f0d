"""Fully connected nets: layers, shapes, the equations, and the same table of variants as conv nets."""

import itertools

import pytest
import torch
from support.nets import count
from support.trainers import training

from resdepth.config.schema import SHORTCUTS, ModelConfig
from resdepth.errors import ConfigError
from resdepth.models.build import build
from resdepth.models.size import layer_outputs, min_memory_bytes, multiply_adds, parameters, stages
from resdepth.variants import VARIANTS

IMAGE = (3, 4, 5)


def dense(variant="residual", depth=8, widths=(6, 8), **model):
    config = ModelConfig(architecture="dense", widths=list(widths), **model)
    return build(depth, variant, config, IMAGE, 10, torch.Generator().manual_seed(0))


@pytest.mark.parametrize("widths", [(6, 8), (8, 6), (7,), (4, 4, 9)])
@pytest.mark.parametrize(
    ("variant", "shortcut", "batch_norm"), [*itertools.product(VARIANTS, SHORTCUTS, [True, False])]
)
def test_logits_and_formulas_are_right_for_every_option(variant, shortcut, batch_norm, widths):
    net = dense(variant, 10, widths, shortcut=shortcut, batch_norm=batch_norm)
    assert net(torch.rand(2, *IMAGE)).shape == (2, 10)
    model = ModelConfig(architecture="dense", widths=list(widths), shortcut=shortcut, batch_norm=batch_norm)
    assert parameters(10, variant, model, IMAGE, 10) == count(net)


@pytest.mark.parametrize("depth", [6, 8, 20, 56])
def test_depth_counts_the_weighted_layers_and_stages_share_the_blocks(depth):
    net = dense(depth=depth, widths=(6, 8), shortcut="A")
    assert len([m for m in net.modules() if isinstance(m, torch.nn.Linear)]) == depth
    blocks = [stage.blocks for stage in stages(depth, ModelConfig(architecture="dense"))]
    assert sum(blocks) == len(net.blocks) == (depth - 2) // 2
    assert 0 <= blocks[0] - blocks[1] <= 1


@pytest.mark.parametrize(("before", "after"), [(6, 8), (8, 6)])
def test_a_block_computes_its_equation_with_a_learned_ws(before, after):
    """a[l+2] = g(W[l+2] a[l+1] + b[l+2] + Ws a[l]), in either direction of the widths."""
    net = dense("residual", 6, (before, after), shortcut="B", batch_norm=False)
    block, a = net.blocks[1], torch.rand(4, before)
    for parameter in block.parameters():
        torch.nn.init.normal_(parameter)
    first, second, ws = block.layer1, block.layer2, block.shortcut[0]
    hidden = torch.relu(a @ first.weight.T + first.bias)
    expected = torch.relu(hidden @ second.weight.T + second.bias + a @ ws.weight.T + ws.bias)
    assert ws.weight.shape == (after, before)
    assert torch.allclose(block(a), expected, atol=1e-6)
    plain = dense("plain", 6, (before, after), batch_norm=False).blocks[1]
    plain.load_state_dict({k: v for k, v in block.state_dict().items() if "shortcut" not in k})
    assert torch.allclose(plain(a), torch.relu(hidden @ second.weight.T + second.bias), atol=1e-6)


@pytest.mark.parametrize(("before", "after"), [(6, 8), (8, 6)])
def test_option_a_adds_the_input_padded_with_zeros_or_truncated(before, after):
    net = dense("residual", 6, (before, after), zero_init_residual=True)
    a = torch.rand(4, before)
    kept = min(before, after)
    out = net.blocks[1].eval()(a)
    assert torch.equal(out[:, :kept], a[:, :kept])
    assert not out[:, kept:].any()


@pytest.mark.parametrize("batch_norm", [True, False])
def test_zero_init_residual_starts_every_block_as_the_identity(batch_norm):
    a = torch.rand(4, 6)
    assert torch.equal(dense(zero_init_residual=True, batch_norm=batch_norm, widths=(6,)).blocks[0](a), a)
    assert not torch.equal(dense(batch_norm=batch_norm, widths=(6,)).blocks[0](a), a)


def test_multiply_adds_and_outputs_are_those_of_the_layers():
    net, model = dense(depth=12, widths=(6, 8)), ModelConfig(architecture="dense", widths=[6, 8])
    layers = [m for m in net.modules() if isinstance(m, torch.nn.Linear)]
    assert multiply_adds(12, model, IMAGE, 10) == sum(layer.weight.numel() for layer in layers)
    assert layer_outputs(12, model, IMAGE) == sum(layer.out_features for layer in layers[:-1])
    least = min_memory_bytes(12, "residual", model, IMAGE, 10, 16, half=False)
    assert least == 12 * count(net) + 16 * 4 * 2 * layer_outputs(12, model, IMAGE)


@pytest.mark.parametrize(
    ("depth", "widths", "line"),
    [
        (21, [128, 256], "depth=21: a dense net has an even number of layers; nearest are 20 and 22"),
        (4, [128, 256], "depth=4: a dense net has an even number of layers, with 2 stages at least 6; nearest is 6"),
        (3, [8], "depth=3: a dense net has an even number of layers, at least 4; nearest is 4"),
    ],
)
def test_a_depth_that_does_not_fit_is_refused_with_the_nearest(depth, widths, line):
    with pytest.raises(ConfigError) as error:
        ModelConfig(architecture="dense", widths=widths).require_depth(depth)
    assert str(error.value) == line


@pytest.mark.parametrize("keys", [{}, {"precision": "bf16"}, {"gradient_checkpointing": True}])
def test_it_trains_with_the_trainer_in_every_arithmetic(keys):
    model = ModelConfig(architecture="dense", widths=[32, 16])
    records = [*training(depth=8, model=model, **keys).epochs()]
    assert len(records) == 3
    assert records[-1].train_loss < records[0].train_loss


def test_in_bf16_every_layer_but_the_classifier_has_a_float32_master():
    t = training(depth=8, model=ModelConfig(architecture="dense", shortcut="B"), precision="bf16")
    halves = {name for name, p in t.net.named_parameters() if p.dtype == torch.bfloat16}
    assert halves == t.step.optimiser.masters.keys()
    assert {n for n, p in t.net.named_parameters() if p.ndim == 2} - halves == {"classifier.weight"}


@pytest.mark.parametrize("architecture", ["conv", "dense"])
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("is_training", [True, False])
def test_the_trace_is_every_weighted_layer_and_ends_with_the_logits(architecture, variant, is_training):
    model = ModelConfig(architecture=architecture, downsample="max" if architecture == "conv" else "stride")
    net = build(14, variant, model, IMAGE, 10, torch.Generator()).train(is_training)
    x = torch.rand(4, *IMAGE)
    layers, outputs = zip(*net.trace(x), strict=True)
    assert len(layers) == 14
    assert [*layers] == [m for m in net.modules() if isinstance(m, torch.nn.Linear | torch.nn.Conv2d)]
    assert torch.equal(outputs[-1], net(x))
    assert all((a >= 0).all() for a in outputs[:-1])
