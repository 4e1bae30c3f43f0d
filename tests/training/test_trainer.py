"""The training loop: records, lengths, precision, and that nothing waits for the device."""

from dataclasses import replace

import pytest
import torch
from support.trainers import SHORT, training


def test_nothing_waits_for_the_device_inside_an_epoch(monkeypatch):
    t = training()
    waits = []
    for name in ("item", "tolist", "cpu", "numpy", "__bool__", "__float__", "__int__"):
        original = getattr(torch.Tensor, name)
        monkeypatch.setattr(torch.Tensor, name, lambda self, *a, _o=original, _n=name: waits.append(_n) or _o(self, *a))
    during = []
    list(t.epochs(on_step=lambda _: during.append(len(waits))))
    steps = t.schedule.steps_per_epoch
    by_epoch = [during[i : i + steps] for i in range(0, len(during), steps)]
    assert len(by_epoch) == 3
    # From the first step of an epoch to its last, nothing was read; after it, the sums are.
    assert all(counts[0] == counts[-1] for counts in by_epoch)
    assert by_epoch[1][0] > by_epoch[0][-1]


def test_the_last_epoch_ends_at_the_last_iteration():
    records = list(training(recipe=replace(SHORT, epochs=None, iterations=6)).epochs())
    assert [(r.epoch, r.iteration) for r in records] == [(1, 4), (2, 6)]


def test_the_rate_of_the_warm_up_holds_until_an_epoch_ends_below_its_error():
    recipe = replace(SHORT, epochs=9, warmup_lr=0.005, warmup_depth=8, warmup_error=80.0, warmup_epochs=8)
    records = list(training(recipe=recipe).epochs())
    warm = [r.lr == 0.005 for r in records]
    below = [r.train_error < 80 for r in records]
    first_below = below.index(True)
    assert warm == [i <= first_below for i in range(9)]
    assert 0 < first_below < 8


@pytest.mark.parametrize("variant", ["plain", "residual"])
def test_bf16_trains_with_float32_weights(variant):
    t = training(variant, precision="bf16")
    records = list(t.epochs())
    assert all(p.dtype == torch.float32 for p in t.net.parameters())
    assert records[-1].train_loss < records[0].train_loss


def test_learns_the_digits():
    t = training(recipe=replace(SHORT, epochs=10, lr=0.1, pad=0, flip=False))
    assert list(t.epochs())[-1].train_error < 5
