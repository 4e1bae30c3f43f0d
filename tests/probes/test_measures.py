"""What each probe measures, against values computed by hand or in another way."""

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from support.probes import SHORT, data_of, probed

from resdepth.probes.measures import decay, gradients, grow, identity, learn_identity
from resdepth.probes.nets import sample
from resdepth.training.trainer import Trainer

OPTIONS = [(a, b) for a in ("conv", "dense") for b in (True, False)]
BOTH = ["plain", "residual"]


@pytest.mark.parametrize("variant", BOTH)
@pytest.mark.parametrize(("architecture", "batch_norm"), OPTIONS)
def test_gradient_norms_are_those_of_a_backward_pass(variant, architecture, batch_norm):
    net = probed(variant, 14, architecture, batch_norm=batch_norm)
    data = data_of(net)
    rows = gradients.measure(net, data)
    module = net.build(data).train()
    images, labels = sample(data, 128)
    F.cross_entropy(module(images), labels).backward()
    layers = [m for m in module.modules() if isinstance(m, torch.nn.Conv2d | torch.nn.Linear)]
    assert [row.layer for row in rows] == [*range(15)]
    expected = [layer.weight.grad.norm().item() for layer in layers]
    assert [row.weight_gradient for row in rows[1:]] == pytest.approx(expected, rel=1e-5)
    assert math.isnan(rows[0].weight_gradient)
    assert rows[0].activation == pytest.approx(images.square().mean().sqrt().item(), rel=1e-6)
    assert rows[-1].activation == pytest.approx(module(images).square().mean().sqrt().item(), rel=1e-5)


def test_the_gradient_of_an_activation_is_the_change_of_the_loss():
    """Of the logits, where it is known: (softmax - one-hot) / N."""
    net = probed("plain", 8, "dense")
    data = data_of(net)
    images, labels = sample(data, 128)
    p = F.softmax(net.build(data).train()(images), dim=1)
    expected = (p - F.one_hot(labels, 10)) / len(labels)
    rows = gradients.measure(net, data)
    assert rows[-1].activation_gradient == pytest.approx(expected.square().mean().sqrt().item(), rel=1e-4)
    # A fixed direction of the logits has the same gradient for every image.
    assert rows[-1].correlation == pytest.approx(1)
    assert rows[-2].correlation == pytest.approx(1)
    assert abs(rows[0].correlation) < 0.9


@pytest.mark.parametrize(
    ("vectors", "expected"),
    [
        ([[1, 0], [2, 0]], 1),
        ([[1, 0], [0, 3]], 0),
        ([[1, 0], [-1, 0]], -1),
        ([[1, 0], [0, 1], [1, 1]], (0 + 2 * 0.5**0.5) / 3),
        ([[1, 0], [0, 0], [2, 0]], 1),
    ],
)
def test_the_mean_cosine_is_that_of_all_pairs(vectors, expected):
    assert gradients.mean_cosine(torch.tensor(vectors, dtype=torch.float)) == pytest.approx(expected)


def test_the_mean_cosine_of_one_vector_is_not_a_number():
    assert math.isnan(gradients.mean_cosine(torch.ones(1, 3)))


@pytest.mark.parametrize(("architecture", "batch_norm"), OPTIONS)
def test_blocks_of_zero_weights_change_no_logit_of_a_residual_net(architecture, batch_norm):
    net = probed("residual", 14, architecture, batch_norm=batch_norm)
    rows = [*identity.measure(net, data_of(net), [1, 3])]
    assert [(row.place, row.blocks) for row in rows] == [(place, k) for place in range(7) for k in (1, 3)]
    assert {row.kind for row in rows} == {"zero"}
    assert {row.logit_change for row in rows} == {0.0}
    assert all(row.error == row.error_before for row in rows)


@pytest.mark.parametrize(("architecture", "batch_norm"), OPTIONS)
def test_in_a_plain_net_they_make_all_images_the_same_and_identity_layers_change_nothing(architecture, batch_norm):
    net = probed("plain", 14, architecture, batch_norm=batch_norm)
    data = data_of(net)
    images, labels = sample(data, 512)
    rows = [*identity.measure(net, data, [1, 3])]
    zero, dirac = ([row for row in rows if row.kind == kind] for kind in ("zero", "dirac"))
    assert len(zero) == len(dirac) == 14
    # One class for all images: the error is that of always saying this class.
    shares = [100 * (labels != c).float().mean().item() for c in range(10)]
    assert all(any(row.error == pytest.approx(share) for share in shares) for row in zero)
    assert min(row.logit_change for row in zero) > 0.01 * zero[0].logit_scale
    assert max(row.logit_change for row in dirac) < 1e-4 * dirac[0].logit_scale
    assert zero[0].logit_scale == pytest.approx(net.build(data).eval()(images).abs().max().item())


def test_the_branch_against_the_shortcut_is_computed_from_the_weights():
    net = probed("residual", 6, "dense", batch_norm=False, widths=[5, 7])
    data = data_of(net)
    rows = [*decay.measure(net, data)]
    module = net.build(data).eval()
    images, labels = sample(data, 512)
    a = torch.relu(module.layer(images.flatten(1)))
    for row, block in zip(rows, module.blocks, strict=True):
        first, second = block.layer1.weight, block.layer2.weight
        z = torch.relu(a @ first.T) @ second.T
        x = F.pad(a, (0, z.shape[1] - a.shape[1]))
        there = x.norm(dim=1) > 0
        expected = (z.norm(dim=1)[there] / x.norm(dim=1)[there]).mean().item()
        assert row.branch_ratio == pytest.approx(expected, rel=1e-4)
        assert row.weight_norm == pytest.approx((first.square().sum() + second.square().sum()).sqrt().item(), rel=1e-5)
        assert row.bias_norm == 0
        assert math.isnan(row.bn_scale)
        a = torch.relu(z + x)
    assert [row.block for row in rows] == [1, 2]
    assert rows[0].error == 100 * (module(images).argmax(1) != labels).float().mean().item()


def test_batch_norms_scale_and_shift_are_measured_and_a_plain_block_that_changes_the_shape_has_no_ratio():
    net = probed("plain", 8, "conv")
    rows = [*decay.measure(net, data_of(net))]
    assert [row.bn_scale for row in rows] == [1.0] * 3
    assert [math.isnan(row.branch_ratio) for row in rows] == [False, True, True]


@pytest.mark.parametrize("variant", BOTH)
@pytest.mark.parametrize(("architecture", "batch_norm"), OPTIONS)
def test_a_net_grows_from_where_it_was_and_goes_on_as_the_trainer_does(variant, architecture, batch_norm):
    net = probed(variant, 8, architecture, batch_norm=batch_norm)
    data = data_of(net)
    rows = [*grow.measure(net, data, blocks=3, epochs=2)]
    assert [(row.added, row.further_epoch) for row in rows] == [(a, e) for a in (0, 6) for e in (0, 1, 2)]
    assert rows[0].train_error == rows[3].train_error
    assert rows[3].train_loss == pytest.approx(rows[0].train_loss, rel=1e-3)
    records = [*Trainer(net.config, data).epochs()]
    assert [row.train_loss for row in rows[1:3]] == [record.train_loss for record in records]
    assert rows[4].train_loss != rows[1].train_loss


@pytest.mark.parametrize("variant", BOTH)
@pytest.mark.parametrize("architecture", ["conv", "dense"])
def test_a_stack_learns_to_reproduce_its_input(variant, architecture):
    net = probed(variant, 8, architecture, recipe=replace(SHORT, epochs=6, lr=0.1), batch_norm=False)
    (row,) = learn_identity.measure(net, data_of(net, as_pixels=True))
    assert row.layers == 6
    assert row.error < 0.9 * row.error_before


@pytest.mark.parametrize("architecture", ["conv", "dense"])
@pytest.mark.parametrize("batch_norm", [True, False])
def test_a_residual_stack_that_starts_as_the_identity_has_no_error(architecture, batch_norm):
    net = probed("residual", 8, architecture, zero_init_residual=True, batch_norm=batch_norm)
    (row,) = learn_identity.measure(net, data_of(net, as_pixels=True))
    assert row.error_before == 0
    assert row.error == 0


def test_an_output_of_zero_has_an_error_of_100_percent():
    recipe = replace(SHORT, lr=1e-9)
    net = probed("plain", 26, "conv", recipe=recipe, batch_norm=False, width=1)
    (row,) = learn_identity.measure(net, data_of(net, as_pixels=True))
    assert row.error_before == pytest.approx(100, abs=1)
