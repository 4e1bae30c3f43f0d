"""Initialisation: what it depends on, and what two nets of one seed share."""

import pytest
import torch
from support.nets import small


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
