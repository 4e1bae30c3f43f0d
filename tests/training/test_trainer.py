"""The training loop: records, lengths, precision, and that nothing waits for the device."""

from dataclasses import replace

import pytest
import torch
from support.runs import rows
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


def test_the_rate_of_a_record_is_that_of_its_epochs_last_minibatch():
    # Four minibatches an epoch; the rate falls after the second of the first epoch, and at the second epoch's last.
    recipe = replace(SHORT, epochs=None, iterations=10, lr=0.1, gamma=0.5, milestones=[2, 7])
    assert [r.lr for r in training(recipe=recipe).epochs()] == pytest.approx([0.05, 0.025, 0.025])


def test_the_rate_of_the_warm_up_holds_until_an_epoch_ends_below_its_error():
    recipe = replace(SHORT, epochs=9, warmup_lr=0.005, warmup_depth=8, warmup_error=80.0, warmup_epochs=8)
    records = list(training(recipe=recipe).epochs())
    warm = [r.lr == 0.005 for r in records]
    below = [r.train_error < 80 for r in records]
    first_below = below.index(True)
    assert warm == [i <= first_below for i in range(9)]
    assert 0 < first_below < 8


@pytest.mark.parametrize("variant", ["plain", "residual"])
def test_bf16_computes_convolutions_in_bfloat16_and_keeps_all_else_in_float32(variant):
    t = training(variant, precision="bf16")
    seen = {}
    for name, module in t.net.named_modules():
        module.register_forward_hook(lambda module, x, y, name=name: seen.update({name: (x[0].dtype, y.dtype)}))
    records = list(t.epochs())
    assert seen["blocks.2.layer2"] == seen["blocks.2.norm2"] == (torch.bfloat16, torch.bfloat16)
    assert seen["classifier"] == seen[""] == (torch.float32, torch.float32)
    assert records[-1].train_loss < records[0].train_loss
    state = t.state_dict()["tensors"]
    assert {tensor.dtype for tensor in state.values()} == {torch.float32}
    # The masters are finer than the weights with which the net computes.
    master, weight = state["blocks.0.layer1.weight"], t.net.blocks[0].layer1.weight
    assert torch.equal(master.bfloat16(), weight)
    assert not torch.equal(master, weight.float())


def test_a_bf16_run_continued_from_a_checkpoint_has_the_numbers_of_the_whole_run():
    whole, first, second = (training(precision="bf16") for _ in range(3))
    start = [next(first.epochs())]
    second.load_state_dict(first.state_dict())
    assert rows([*start, *second.epochs()]) == rows(whole.epochs())


def test_learns_the_digits():
    t = training(recipe=replace(SHORT, epochs=10, lr=0.1, pad=0, flip=False))
    assert list(t.epochs())[-1].train_error < 5
