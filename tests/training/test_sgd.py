"""The update: against torch's own SGD, against the formula, and which parameters are decayed."""

import subprocess
import sys
from dataclasses import replace

import pytest
import torch
from support.commands import ROOT
from support.trainers import CPU, SHORT, training

from resdepth.config.schema import RecipeConfig
from resdepth.training.sgd import SGD


@pytest.mark.parametrize(("bias", "bn"), [(True, True), (True, False), (False, True), (False, False)])
def test_weight_decay_spares_biases_and_batch_norm_where_the_recipe_says(bias, bn):
    net = training().net
    groups = SGD(net, RecipeConfig(decay_bias=bias, decay_bn=bn, weight_decay=0.5), CPU).groups
    decayed = {id(p) for parameters, decay in groups for p in parameters if decay == 0.5}
    assert id(net.layer.weight) in decayed
    assert id(net.classifier.weight) in decayed
    assert (id(net.classifier.bias) in decayed) == bias
    assert (id(net.norm.weight) in decayed) == (id(net.norm.bias) in decayed) == bn
    assert sum(len(parameters) for parameters, _ in groups) == len(list(net.parameters()))


def train_with_both(momentum, **torchs):
    """Two equal nets after three steps on one batch, the first by our SGD, the second by torch's with these options."""
    ours, theirs = training().net, training().net
    sgd = SGD(ours, replace(SHORT, momentum=momentum, weight_decay=0.01), CPU)
    reference = torch.optim.SGD(theirs.parameters(), momentum=momentum, weight_decay=0.01, **torchs)
    for _ in range(3):
        for net in (ours, theirs):
            net.zero_grad()
            net(torch.ones(4, 1, 8, 8)).square().sum().backward()
        sgd.step()
        reference.step()
    return ours, theirs


@pytest.mark.parametrize("momentum", [0.9, 0.0])
def test_sgd_is_torchs_own(momentum):
    ours, theirs = train_with_both(momentum, lr=0.02)
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-6)


def test_a_step_is_sgd_with_momentum_and_weight_decay():
    """Two steps against the update written out: v = m v + (g + d w), w = w - lr v."""
    t = training(recipe=replace(SHORT, weight_decay=0.1, momentum=0.5, epochs=1))
    weight = t.net.classifier.weight
    velocity, expected = torch.zeros_like(weight), weight.detach().clone()
    seen = []

    def follow(_):
        nonlocal velocity, expected
        gradient = weight.grad + 0.1 * expected
        velocity = 0.5 * velocity + gradient
        expected = expected - t.schedule.rate(len(seen)) * velocity
        seen.append(torch.allclose(weight, expected, atol=1e-6))

    list(t.epochs(on_step=follow))
    assert seen == [True] * 4


@pytest.mark.parametrize("momentum", [0.9, 0.0])
def test_sgd_is_bit_for_bit_the_fused_optimiser_of_torch(momentum):
    ours, theirs = train_with_both(momentum, lr=torch.tensor(SHORT.lr), fused=True)
    message = "torch.optim.sgd.sgd(fused=True) no longer computes what torch.optim.SGD(fused=True) does"
    assert all(map(torch.equal, ours.parameters(), theirs.parameters())), message


def test_half_is_autocast_bit_for_bit_with_two_casts_a_step_instead_of_two_a_layer():
    """Three steps with masters against three under autocast, which casts each weight and each gradient by itself."""
    ours, theirs = training().net, training().net
    options = replace(SHORT, momentum=0.9, weight_decay=0.01)
    one, other = SGD(ours, options, CPU, half=True), SGD(theirs, options, CPU)
    x = torch.rand(4, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    pooled = []
    theirs.classifier.register_forward_pre_hook(lambda _, x: pooled.append(x[0]))
    for _ in range(3):
        one.zero_grad()
        ours(x).square().sum().backward()
        one.step()
        other.zero_grad()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            theirs(x)
        # The classifier computes in float32, outside autocast.
        torch.nn.functional.linear(
            pooled[-1], theirs.classifier.weight, theirs.classifier.bias
        ).square().sum().backward()
        other.step()
    trained = {**dict(ours.named_parameters()), **one.masters}
    for name, parameter in theirs.named_parameters():
        assert torch.equal(trained[name], parameter), name


@pytest.mark.slow
def test_a_step_does_not_load_dynamo():
    """torch.optim.SGD does, at its first step: 1 to 2 seconds for every run."""
    code = (
        "import sys, torch\n"
        "from resdepth.config.schema import RecipeConfig\n"
        "from resdepth.training.sgd import SGD\n"
        "net = torch.nn.Linear(2, 2)\n"
        "net(torch.ones(1, 2)).sum().backward()\n"
        "sgd = SGD(net, RecipeConfig(), torch.device('cpu'))\n"
        "sgd.step()\n"
        "print('torch._dynamo' in sys.modules)\n"
        "torch.optim.SGD(net.parameters()).step()\n"
        "print('torch._dynamo' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    ours, torchs = done.stdout.split()
    assert ours == "False"
    assert torchs == "True", "torch.optim.SGD no longer loads torch._dynamo: resdepth/training/sgd.py can use it"
