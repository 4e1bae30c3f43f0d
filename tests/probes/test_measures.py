"""What each probe measures, against values computed by hand or in another way."""

import copy
import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from support.probes import SHORT, data_of, probed

from resdepth.data.seeding import INITIALISATION, generator
from resdepth.models.build import initialise_net
from resdepth.probes.measures import decay, gradients, grow, identity, insertion, learn_identity
from resdepth.probes.nets import sample
from resdepth.results.checkpoint import save_weights, weights_path
from resdepth.training import trainer
from resdepth.training.trainer import Trainer

OPTIONS = [(a, b) for a in ("conv", "dense") for b in (True, False)]
BOTH = ["plain", "residual"]


@pytest.mark.parametrize("variant", BOTH)
@pytest.mark.parametrize(("architecture", "batch_norm"), OPTIONS)
def test_gradient_norms_are_those_of_a_backward_pass(variant, architecture, batch_norm):
    net = probed(variant, 14, architecture, batch_norm=batch_norm)
    data = data_of(net)
    rows = [*gradients.measure(net, data)]
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
    rows = [*gradients.measure(net, data)]
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


@pytest.mark.parametrize("architecture", ["conv", "dense"])
def test_trained_nets_are_measured_with_their_weights(architecture, tmp_path):
    net = probed("residual", 8, architecture)
    data = data_of(net)
    trainer = Trainer(net.config, data)
    list(trainer.epochs())
    save_weights(tmp_path, net.config, 2, trainer.weights)
    trained = replace(net, epoch=2, weights=weights_path(tmp_path, 2))
    there, here = trained.build(data).state_dict(), trainer.net.state_dict()
    assert all(torch.equal(there[name], here[name]) for name in here)
    assert not all(torch.equal(there[name], value) for name, value in net.build(data).state_dict().items())


def test_the_sample_is_a_fixed_choice_of_normalised_training_images():
    net = probed()
    data = data_of(net)
    images, labels = sample(data, 30)
    pixels = (data.train.images / 255 - data.mean) / data.deviation
    found = [int((pixels == image).flatten(1).all(dim=1).nonzero()[0]) for image in images]
    assert len(set(found)) == 30
    assert found != list(range(30))
    assert torch.equal(data.train.labels[found], labels)
    assert torch.equal(sample(data, 30)[0], images)


def test_the_cosine_of_pairs_is_that_of_neighbours_without_zeros():
    first = torch.tensor([[1.0, 0.0], [0.0, 2.0], [0.0, 0.0]])
    second = torch.tensor([[1.0, 1.0], [0.0, -1.0], [1.0, 0.0]])
    assert gradients.paired_cosine(first, second) == pytest.approx((0.5**0.5 - 1) / 2)
    assert math.isnan(gradients.paired_cosine(first[2:], second[2:]))


def test_correlations_are_those_of_each_images_own_gradient():
    """By one backward pass per image, with batch norm's statistics of the images as constants."""
    net = probed("residual", 8, "dense")
    data = data_of(net)
    rows = [*gradients.measure(net, data)]
    module = net.build(data)
    images, _ = sample(data, 128)
    for norm in module.modules():
        if isinstance(norm, torch.nn.BatchNorm2d):
            norm.momentum = 1.0
    with torch.no_grad():
        module.train()(images)
    module.eval()
    direction = torch.randn(10, generator=torch.Generator().manual_seed(0))

    def gradient(image):
        x = image[None].clone().requires_grad_()
        return torch.autograd.grad((module(x)[0] @ direction), x)[0]

    own = torch.cat([gradient(image) for image in images])
    near = images + 0.1 * (images.roll(1, dims=0) - images)
    neighbours = torch.cat([gradient(image) for image in near])
    assert rows[0].correlation == pytest.approx(gradients.mean_cosine(own), abs=1e-4)
    assert rows[0].neighbour_correlation == pytest.approx(gradients.paired_cosine(own, neighbours), abs=1e-4)
    trace = [*net.build(data).train().trace(images)]
    for _, output in trace:
        output.retain_grad()
    F.cross_entropy(trace[-1][1], sample(data, 128)[1]).backward()
    expected = [output.grad.square().mean().sqrt().item() for _, output in trace]
    assert [row.activation_gradient for row in rows[1:]] == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("architecture", ["conv", "dense"])
def test_with_projections_everywhere_inserted_blocks_are_the_identity_too(architecture):
    net = probed("residual", 8, architecture, shortcut="C")
    data = data_of(net)
    assert {row.logit_change for row in identity.measure(net, data, [1])} == {0.0}
    rows = [*grow.measure(net, data, blocks=2, epochs=1)]
    assert rows[0].train_error == rows[2].train_error
    stack = probed("residual", 8, architecture, shortcut="C", zero_init_residual=True)
    (row,) = learn_identity.measure(stack, data_of(stack, as_pixels=True))
    assert row.error == 0


@pytest.mark.parametrize("architecture", ["conv", "dense"])
def test_added_identity_layers_are_the_identity_where_training_goes_on(architecture):
    """After a few steps, when running statistics are far from those of the minibatches."""
    recipe = replace(SHORT, epochs=1, batch_size=50, lr=0.1)
    net = probed("plain", 14, architecture, recipe=recipe)
    data = data_of(net)
    trained = Trainer(net.config, data)
    list(trained.epochs())
    module, images = copy.deepcopy(trained.net), sample(data, 512)[0]
    before = copy.deepcopy(module).train()(images)
    assert (copy.deepcopy(module).eval()(images) - before).abs().max() > 0.5
    grow._add_blocks(module, net, data, 3)
    assert len(module.blocks) == 9
    # The net's own tensors, its running statistics among them, are as they were.
    now = module.state_dict().values()
    assert all(any(torch.equal(value, there) for there in now) for value in trained.net.state_dict().values())
    assert torch.allclose(copy.deepcopy(module).train()(images), before, rtol=1e-2, atol=1e-2)


def test_a_conv_stack_gets_the_channels_repeated_up_to_its_width():
    net = probed("plain", 8, "conv", width=3)
    stack = learn_identity.Stack(net.config, data_of(net, as_pixels=True))
    x = torch.rand(2, 1, 8, 8)
    assert torch.equal(stack.prepare(x), x.expand(2, 3, 8, 8))
    assert torch.equal(stack.prepare(torch.rand(2, 2, 8, 8, generator=torch.Generator().manual_seed(0)))[:, 2],
                       torch.rand(2, 2, 8, 8, generator=torch.Generator().manual_seed(0))[:, 0])  # fmt: skip


def test_decay_uses_running_statistics_and_the_scales_of_both_layers():
    net = probed("residual", 8, "conv", downsample="max")
    data = data_of(net)
    module = net.build(data)
    with torch.no_grad():
        for number, norm in enumerate(m for m in module.modules() if isinstance(m, torch.nn.BatchNorm2d)):
            norm.running_mean.fill_(0.1 * number)
            norm.weight.fill_(1.0 + number)

    class Given:
        config, columns = net.config, net.columns

        def build(self, _):
            return module.train()

    rows = [*decay.measure(Given(), data)]
    a = module.eval().enter(sample(data, 512)[0])
    for row, block in zip(rows, module.blocks, strict=True):
        a = block.downsample(a)
        z, x = block.branch(block.hidden(a)), block.shortcut(a)
        expected = (z.flatten(1).norm(dim=1) / x.flatten(1).norm(dim=1)).mean().item()
        scales = torch.cat([block.norm1.weight, block.norm2.weight])
        assert row.branch_ratio == pytest.approx(expected, rel=1e-5)
        assert row.bn_scale == pytest.approx(scales.square().mean().sqrt().item(), rel=1e-5)
        a = block.output(a, z)


@pytest.mark.gpu
@pytest.mark.parametrize("variant", BOTH)
@pytest.mark.parametrize("architecture", ["conv", "dense"])
def test_on_a_gpu_every_measure_is_that_of_the_cpu(variant, architecture):
    here = probed(variant, 14, architecture)
    there = replace(here, config=replace(here.config, device="cuda"))
    data, gpu = data_of(here), data_of(there)
    for norm, expected in zip(gradients.measure(there, gpu), gradients.measure(here, data), strict=True):
        assert norm.activation == pytest.approx(expected.activation, rel=1e-3)
    zero = {row.logit_change for row in identity.measure(there, gpu, [1]) if row.kind == "zero"}
    assert (zero == {0.0}) == (variant == "residual")
    for row, expected in zip(decay.measure(there, gpu), decay.measure(here, data), strict=True):
        assert row.branch_ratio == pytest.approx(expected.branch_ratio, rel=1e-3, nan_ok=True)
    rows = [*grow.measure(there, gpu, blocks=2, epochs=1)]
    assert rows[0].train_error == pytest.approx(rows[2].train_error, abs=1)
    (row,) = learn_identity.measure(there, data_of(there, as_pixels=True))
    (expected,) = learn_identity.measure(here, data_of(here, as_pixels=True))
    assert row.error == pytest.approx(expected.error, rel=0.05)


def test_the_change_of_the_logits_is_that_of_the_extended_net():
    net = probed("plain", 8, "dense", batch_norm=False)
    data = data_of(net)
    images, labels = sample(data, 512)
    before = net.build(data).eval()(images)
    for row in identity.measure(net, data, [3]):
        module = net.build(data).eval()
        width = insertion.channels_at(module, row.place)
        make = insertion.zero_block if row.kind == "zero" else insertion.dirac_block
        blocks = list(module.blocks)
        more = [make(net.config.model, "plain", width) for _ in range(3)]
        module.blocks = torch.nn.ModuleList([*blocks[: row.place], *more, *blocks[row.place :]])
        after = module(images)
        change = after - before
        # Up to rounding: the same layers in another order of calls.
        assert row.logit_change == pytest.approx(change.abs().max().item(), abs=1e-6)
        assert row.error == pytest.approx(100 * (after.argmax(1) != labels).float().mean().item())
        assert row.error_before == pytest.approx(100 * (before.argmax(1) != labels).float().mean().item())


def test_a_change_of_the_logits_is_positive_in_either_direction(monkeypatch):
    net = probed("plain", 6, "dense", batch_norm=False)
    for shift in (-3.0, 2.0):
        monkeypatch.setattr(identity, "_continue", lambda net, place, a, shift=shift: net(a) + shift)
        monkeypatch.setattr(identity, "_repeat", lambda *_: sample(data_of(net), 512)[0])
        found = {round(row.logit_change, 3) for row in identity.measure(net, data_of(net), [1])}
        assert found == {abs(shift)}


def test_inserted_blocks_follow_each_other():
    assert identity._repeat(lambda a: 2 * a, 3, torch.tensor(1.0)) == 8


def test_growth_follows_the_recipe_shortened_without_its_warm_up():
    recipe = replace(SHORT, epochs=None, iterations=40, warmup_lr=1e-6, warmup_depth=1, milestones=[20])
    net = probed("residual", 8, recipe=recipe)
    data = data_of(net)
    rows = [*grow.measure(net, data, blocks=1, epochs=2)]
    short = replace(recipe, epochs=2, iterations=None, warmup_lr=None)
    expected = [record.train_loss for record in Trainer(replace(net.config, recipe=short), data).epochs()]
    assert len(rows) == 6
    assert [row.train_loss for row in rows[1:3]] == expected


def test_added_residual_blocks_are_drawn_from_the_runs_seed_and_each_is_another():
    def added(seed):
        net = probed("residual", 8, "dense", widths=[12])
        net = replace(net, config=replace(net.config, seed=seed))
        module = net.build(data_of(net))
        before = set(module.blocks)
        grow._add_blocks(module, net, data_of(net), 2)
        return [block.layer1.weight for block in module.blocks if block not in before]

    first, second = added(0)
    assert not torch.equal(first, second)
    assert torch.equal(added(0)[0], first)
    assert not torch.equal(added(1)[0], first)


def test_the_error_of_a_stack_before_training_is_computed_by_hand():
    net = probed("residual", 6, "dense", batch_norm=False)
    net = replace(net, config=replace(net.config, seed=5))
    data = data_of(net, as_pixels=True)
    (row,) = learn_identity.measure(net, data)
    stack = learn_identity.Stack(net.config, data)
    initialise_net(stack, "residual", net.config.model, generator(5, INITIALISATION))
    first = torch.randperm(100, generator=generator(5, 1))[:32]
    x = (data.train.images[first] / 255).flatten(1)
    a = x
    for block in stack.blocks:
        a = torch.relu(a + torch.relu(a @ block.layer1.weight.T) @ block.layer2.weight.T)
    assert row.error_before == pytest.approx(100 * ((a - x).square().sum() / x.square().sum()).item(), rel=1e-4)


def test_every_epoch_of_a_stack_has_an_order_of_its_own(monkeypatch):
    original, seen = trainer.draw_order, []

    def draw(seed, epoch, *words, **keys):
        seen.append((seed, epoch))
        return original(seed, epoch, *words, **keys)

    monkeypatch.setattr(trainer, "draw_order", draw)
    net = probed("residual", 6, "dense")
    list(learn_identity.measure(net, data_of(net, as_pixels=True)))
    assert seen == [(0, 1), (0, 2)]
