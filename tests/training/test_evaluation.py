"""Which errors are measured, on which images and how often."""

import math
from dataclasses import replace

import pytest
from support.trainers import SHORT, evaluate, training

from resdepth.config.schema import ModelConfig


def test_train_error_is_the_running_error_and_clean_error_a_pass_over_the_training_set():
    t = training(recipe=replace(SHORT, eval_clean=True))
    record = list(t.epochs())[-1]
    assert record.train_error_clean == evaluate(t.net, t.data, "train")[1]
    assert record.test_error == evaluate(t.net, t.data, "test")[1]
    # 4 full minibatches of 32 from 100 images
    assert (record.train_error * 128 / 100) == pytest.approx(round(record.train_error * 128 / 100))


def test_evaluation_does_not_depend_on_its_batch_size():
    t = training()
    next(t.epochs())
    assert evaluate(t.net, t.data, "test", batch=7) == pytest.approx(evaluate(t.net, t.data, "test"))


def test_test_error_is_measured_every_so_many_epochs_and_at_the_end():
    recipe = replace(SHORT, epochs=5, eval_every=2)
    measured = [not math.isnan(r.test_error) for r in training(recipe=recipe).epochs()]
    assert measured == [False, True, False, True, True]


def test_the_last_row_of_a_run_that_diverges_between_two_evaluations_is_evaluated():
    recipe, model = replace(SHORT, epochs=5, eval_every=5, lr=1000.0), ModelConfig(batch_norm=False)
    records = list(training("plain", recipe, model=model).epochs())
    assert records[-1].diverged
    assert records[-1].epoch < 5
    assert not math.isnan(records[-1].test_error)
