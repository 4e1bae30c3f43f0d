"""The randomness of an epoch: what it depends on, and how minibatches are filled."""

import torch

from resdepth.data.augment import draw_order
from resdepth.data.seeding import generator


def test_every_image_has_a_shift_and_a_flip_of_its_own():
    order = draw_order(seed=0, epoch=1, images=1000, batch=100, steps=10, pad=4, flip=True)
    _, row, column, flip = order.unbind(1)
    assert set(row.flatten().tolist()) == set(range(9))
    assert set(column.flatten().tolist()) == set(range(9))
    assert set(flip.flatten().tolist()) == {0, 1}
    assert 400 < flip.sum() < 600
    assert (row != column).any()
    assert not draw_order(0, 1, 100, 10, 10, pad=4, flip=False)[:, 3].any()


def test_every_minibatch_is_full_and_the_last_is_filled_from_the_start_of_the_permutation():
    order = draw_order(seed=0, epoch=1, images=1437, batch=128, steps=12, pad=0, flip=False)[:, 0]
    flat = order.flatten()
    assert order.shape == (12, 128)
    assert sorted(flat[:1437].tolist()) == list(range(1437))
    assert torch.equal(flat[1437:], flat[: 12 * 128 - 1437])


def test_a_shorter_last_epoch_is_the_start_of_the_whole_one():
    whole = draw_order(3, 164, 1000, 100, 10, pad=4, flip=True)
    part = draw_order(3, 164, 1000, 100, 4, pad=4, flip=True)
    assert torch.equal(whole[:4], part)


def test_an_epochs_order_depends_on_seed_and_epoch_alone():
    def order(seed, epoch):
        torch.rand(7)  # what else happens in the process does not matter
        return draw_order(seed, epoch, 100, 10, 10, pad=0, flip=False)[:, 0]

    assert torch.equal(order(0, 1), order(0, 1))
    assert not torch.equal(order(0, 1), order(0, 2))
    assert not torch.equal(order(0, 1), order(1, 1))
    assert generator(1, 2).initial_seed() != generator(2, 1).initial_seed()
