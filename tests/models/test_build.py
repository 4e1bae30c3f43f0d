"""Initialisation: what it depends on, and what two nets of one seed share."""

import pytest
import torch
from support.nets import small

from resdepth.config.schema import ModelConfig
from resdepth.models.build import require_join, zero_branch
from resdepth.models.net import copy_tensors
from resdepth.variants import VARIANTS


def test_plain_and_residual_nets_of_one_seed_share_their_weights():
    plain, residual = small("plain", depth=14), small("residual", depth=14)
    assert all(torch.equal(p, q) for p, q in zip(plain.parameters(), residual.parameters(), strict=True))


def test_initialisation_is_he_and_follows_its_seed_only():
    net = small(depth=20, width=64)
    weight = net.blocks[-1].layer2.weight
    assert weight.std().item() == pytest.approx((2 / (9 * 256)) ** 0.5, rel=0.01)
    torch.manual_seed(5)
    assert torch.equal(weight, small(depth=20, width=64).blocks[-1].layer2.weight)
    assert not torch.equal(weight, small(depth=20, width=64, seed=1).blocks[-1].layer2.weight)


@pytest.mark.parametrize("model", [{"width": 64}, {"architecture": "dense", "widths": [100, 200, 400]}])
def test_the_variance_of_every_layers_weights_is_two_over_its_inputs(model):
    # Widths that grow: a layer's outputs are not as many as its inputs.
    net = small(shortcut="B", **model)
    layers = [module for module in net.modules() if isinstance(module, torch.nn.Conv2d | torch.nn.Linear)]
    assert len(layers) == 8 + 2  # and two projections
    for layer in layers:
        inputs, spread = layer.weight[0].numel(), layer.weight.std().item()
        # Five standard errors of the spread of so many normal weights.
        assert spread == pytest.approx((2 / inputs) ** 0.5, rel=5 / (2 * layer.weight.numel()) ** 0.5)
        assert layer.bias is None or not layer.bias.any()


def test_a_block_starts_as_the_identity_by_its_last_layer_alone():
    for batch_norm in (True, False):
        block, before = small(batch_norm=batch_norm).blocks[0], small(batch_norm=batch_norm).blocks[0]
        zero_branch(block)
        changed = {name for name, p in block.named_parameters() if not torch.equal(p, before.get_parameter(name))}
        assert changed == {"norm2.weight" if batch_norm else "layer2.weight"}
        assert not any(block.get_parameter(name).any() for name in changed)


@pytest.mark.parametrize("architecture", ["conv", "dense"])
@pytest.mark.parametrize("batch_norm", [True, False])
@pytest.mark.parametrize("variant", VARIANTS)
def test_a_join_that_fits_is_not_refused(variant, batch_norm, architecture):
    require_join(variant, ModelConfig(architecture=architecture, batch_norm=batch_norm), torch.float32)


def test_tensors_of_another_shape_or_name_are_not_copied():
    target = {"a": torch.zeros(5)}
    # Of these shapes, one would be broadcast.
    for source in ({"a": torch.ones(1)}, {"b": torch.ones(5)}, {}, {"a": torch.ones(5), "b": torch.ones(5)}):
        with pytest.raises(ValueError, match="differ in name or shape"):
            copy_tensors(target, source)
    assert not target["a"].any()
