"""The schedule against the recipe of He et al. 2015, section 4.2."""

import math

import pytest

from resdepth.config.schema import RecipeConfig
from resdepth.training.schedule import Schedule, warms_up


def test_the_papers_schedule():
    schedule = Schedule.of(RecipeConfig(), train_images=50_000)
    assert (schedule.steps_per_epoch, schedule.iterations, schedule.epochs) == (391, 64_000, 164)
    assert schedule.steps_in(163) == 391
    assert schedule.steps_in(164) == 64_000 - 163 * 391
    rates = [schedule.rate(i) for i in (0, 31_999, 32_000, 47_999, 48_000, 63_999)]
    assert rates == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.001, 0.001])


def test_the_rate_falls_inside_an_epoch():
    schedule = Schedule.of(RecipeConfig(), train_images=50_000)
    rates = schedule.rates(82)  # 31,671 to 32,062
    assert rates[32_000 - 81 * 391 - 1 : 32_000 - 81 * 391 + 1] == pytest.approx([0.1, 0.01])


@pytest.mark.parametrize(("milestones", "expected"), [([0.5, 0.75], (120, 180)), ([10, 200], (10, 200)), ([], ())])
def test_milestones_are_fractions_or_iterations(milestones, expected):
    recipe = RecipeConfig(epochs=20, iterations=None, milestones=milestones)
    assert Schedule.of(recipe, train_images=1437).milestones == expected


def test_a_data_set_smaller_than_a_minibatch_is_one_minibatch():
    schedule = Schedule.of(RecipeConfig(epochs=3, iterations=None), train_images=50)
    assert (schedule.batch_size, schedule.steps_per_epoch, schedule.iterations) == (50, 1, 3)


def test_iterations_may_end_inside_the_first_epoch():
    schedule = Schedule.of(RecipeConfig(iterations=5), train_images=50_000)
    assert (schedule.epochs, schedule.steps_in(1)) == (1, 5)


@pytest.mark.parametrize(
    ("depth", "epoch", "error", "expected"),
    [
        (110, 1, math.nan, True),
        (110, 2, 85.0, True),
        (110, 2, 80.0, True),  # until it is below
        (110, 2, 79.9, False),
        (1202, 2, 85.0, True),
        (104, 1, math.nan, False),
        (110, 10, 90.0, True),
        (110, 11, 90.0, False),  # the maximum length
    ],
)
def test_the_warm_up_lasts_until_the_error_falls_in_nets_of_110_layers_and_more(depth, epoch, error, expected):
    assert warms_up(RecipeConfig(), depth, epoch, error) is expected


def test_without_a_rate_there_is_no_warm_up():
    assert not warms_up(RecipeConfig(warmup_lr=None), 110, 1, math.nan)
