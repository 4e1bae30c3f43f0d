"""Training: what is repeatable, what is decayed, what is measured, what never waits for the device."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import TINY, train_here

from resdepth.config.schema import DataConfig, RecipeConfig, RunConfig
from resdepth.data import sources
from resdepth.data.device_data import to_device
from resdepth.results import checkpoint
from resdepth.results.metrics import read_rows, to_row
from resdepth.sweep.observer import Observer
from resdepth.sweep.plan import make_plan
from resdepth.sweep.run import train_run
from resdepth.training.evaluation import Evaluation
from resdepth.training.sgd import SGD
from resdepth.training.trainer import Trainer

CPU = torch.device("cpu")
SHORT = RecipeConfig(epochs=3, iterations=None, lr=0.02, batch_size=32, pad=1)


def training(variant="residual", recipe=SHORT, depth=8, device="cpu", **keys):
    data = DataConfig(name="digits", limit=100)
    config = RunConfig(depth=depth, variant=variant, device=device, name="x", data=data, recipe=recipe, **keys)
    return Trainer(config, to_device(sources.load(data), recipe.normalise, recipe.pad, torch.device(device)))


def evaluate(net, data, split, precision, batch=1000):
    evaluation = Evaluation(net, data, split, precision, batch=batch)
    evaluation.start()
    return evaluation.result()


def rows(records):
    """Records as text, but for the time."""
    return [to_row(replace(record, epoch_seconds=0.0)) for record in records]


def metrics(folder):
    return rows(read_rows(folder / "metrics.csv"))


def test_one_configuration_and_seed_gives_one_csv(tmp_path):
    for name in ("a", "b"):
        train_here("depth=8", f"results={tmp_path / name}", *TINY)
        torch.rand(3)
    train_here("depth=8", "seed=1", f"results={tmp_path / 'c'}", *TINY)
    for variant in ("plain", "residual"):
        a, b, c = (next((tmp_path / n / "digits").glob(f"{variant}-*")) for n in "abc")
        assert metrics(a) == metrics(b) != metrics(c)


def test_a_run_continued_from_a_checkpoint_is_the_same_run(tmp_path):
    whole = rows(training().epochs())
    first = training()
    epochs = first.epochs()
    start = rows([next(epochs)])
    checkpoint.save(tmp_path / "checkpoint.pt", first.config, first.state_dict())
    second = training()
    second.load_state_dict(checkpoint.load(tmp_path / "checkpoint.pt", second.config, CPU))
    assert start + rows(second.epochs()) == whole


class StopAfter(Observer):
    """Breaks a run off as a kill would, after so many epochs."""

    def __init__(self, epochs):
        self.left = epochs

    def on_epoch(self, run, record):
        self.left -= 1
        if not self.left:
            raise KeyboardInterrupt


@pytest.mark.parametrize("checkpoint_seconds", [0, 1000])
def test_a_broken_run_is_continued_without_a_row_lost_or_doubled(tmp_path, checkpoint_seconds):
    words = ("depth=8", "variant=plain", "recipe.epochs=4", "data.limit=128", "device=cpu")
    train_here(*words, f"results={tmp_path / 'whole'}")
    broken = (*words, f"results={tmp_path / 'broken'}", f"checkpoint_seconds={checkpoint_seconds}")
    (planned,) = make_plan(broken).runs
    with pytest.raises(KeyboardInterrupt):
        train_run(planned, StopAfter(2))
    (planned,) = make_plan(broken).runs
    assert planned.state == "to be continued"
    assert train_run(planned, Observer()).state == "finished"
    name = planned.label
    assert metrics(tmp_path / "broken" / "digits" / name) == metrics(tmp_path / "whole" / "digits" / name)
    assert make_plan(broken).pending == ()
    assert not (planned.directory / "checkpoint.pt").exists()


def test_resume_cuts_rows_newer_than_the_checkpoint(tmp_path):
    words = ("depth=8", "variant=plain", "recipe.epochs=5", "data.limit=128", "device=cpu")
    train_here(*words, f"results={tmp_path / 'whole'}")
    broken = (*words, f"results={tmp_path / 'broken'}")
    for checkpoint_seconds, stop_after in ((0, 1), (1000, 3)):  # the second start hears of the row it continues first
        (planned,) = make_plan([*broken, f"checkpoint_seconds={checkpoint_seconds}"]).runs
        with pytest.raises(KeyboardInterrupt):
            train_run(planned, StopAfter(stop_after))
    assert [row.epoch for row in read_rows(planned.directory / "metrics.csv")] == [1, 2, 3]
    assert checkpoint.load(planned.directory / "checkpoint.pt", planned.config, CPU)["epoch"] == 1
    train_here(*broken)
    assert metrics(planned.directory) == metrics(tmp_path / "whole" / "digits" / planned.label)


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


def test_train_error_is_the_running_error_and_clean_error_a_pass_over_the_training_set():
    t = training(recipe=replace(SHORT, eval_clean=True))
    record = list(t.epochs())[-1]
    assert record.train_error_clean == evaluate(t.net, t.data, "train", "fp32")[1]
    assert record.test_error == evaluate(t.net, t.data, "test", "fp32")[1]
    # 4 full minibatches of 32 from 100 images
    assert (record.train_error * 128 / 100) == pytest.approx(round(record.train_error * 128 / 100))


def test_evaluation_does_not_depend_on_its_batch_size():
    t = training()
    next(t.epochs())
    assert evaluate(t.net, t.data, "test", "fp32", batch=7) == pytest.approx(evaluate(t.net, t.data, "test", "fp32"))


def test_test_error_is_measured_every_so_many_epochs_and_at_the_end():
    recipe = replace(SHORT, epochs=5, eval_every=2)
    measured = [not math.isnan(r.test_error) for r in training(recipe=recipe).epochs()]
    assert measured == [False, True, False, True, True]


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


def test_a_run_whose_loss_is_no_number_ends_as_diverged_with_its_rows(tmp_path):
    words = ("depth=8", "variant=plain", "recipe.lr=1000", "model.batch_norm=false", f"results={tmp_path}", *TINY)
    (outcome,) = train_here(*words, "recipe.epochs=9")
    assert outcome.state == "diverged"
    (folder,) = (tmp_path / "digits").iterdir()
    read = read_rows(folder / "metrics.csv")
    assert read[-1].diverged
    assert len(read) < 9
    assert json.loads((folder / "outcome.json").read_text())["state"] == "diverged"


@pytest.mark.parametrize(("bias", "bn"), [(True, True), (True, False), (False, True), (False, False)])
def test_weight_decay_spares_biases_and_batch_norm_where_the_recipe_says(bias, bn):
    net = training().net
    groups = SGD(net, RecipeConfig(decay_bias=bias, decay_bn=bn, weight_decay=0.5), CPU).groups
    decayed = {id(p) for parameters, decay in groups for p in parameters if decay == 0.5}
    assert id(net.conv.weight) in decayed
    assert id(net.classifier.weight) in decayed
    assert (id(net.classifier.bias) in decayed) == bias
    assert (id(net.norm.weight) in decayed) == (id(net.norm.bias) in decayed) == bn
    assert sum(len(parameters) for parameters, _ in groups) == len(list(net.parameters()))


@pytest.mark.parametrize("momentum", [0.9, 0.0])
def test_sgd_is_torchs_own(momentum):
    recipe = replace(SHORT, momentum=momentum, weight_decay=0.01)
    ours, theirs = training().net, training().net
    sgd = SGD(ours, recipe, CPU)
    reference = torch.optim.SGD(theirs.parameters(), lr=0.02, momentum=momentum, weight_decay=0.01)
    for _ in range(3):
        for net in (ours, theirs):
            net.zero_grad()
            net(torch.ones(4, 1, 8, 8)).square().sum().backward()
        sgd.step()
        reference.step()
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


@pytest.mark.parametrize("variant", ["plain", "residual"])
def test_bf16_trains_with_float32_weights(variant):
    t = training(variant, precision="bf16")
    records = list(t.epochs())
    assert all(p.dtype == torch.float32 for p in t.net.parameters())
    assert records[-1].train_loss < records[0].train_loss


def test_learns_the_digits():
    t = training(recipe=replace(SHORT, epochs=10, lr=0.1, pad=0, flip=False))
    assert list(t.epochs())[-1].train_error < 5


def test_environment_and_configuration_hold_no_absolute_path(tmp_path, images):
    np.savez(tmp_path / "mine.npz", **images)
    words = ("depth=8", "data=npz", f"data.path={tmp_path}/mine.npz", f"results={tmp_path}/r", "recipe.epochs=1")
    train_here(*words, "variant=plain")
    (folder,) = (tmp_path / "r" / "npz").iterdir()
    for name in ("config.yaml", "environment.json", "outcome.json", "metrics.csv"):
        assert str(tmp_path) not in (folder / name).read_text()
    environment = json.loads((folder / "environment.json").read_text())
    assert environment["torch"] == torch.__version__
    assert environment["threads"] == torch.get_num_threads()


@pytest.mark.gpu
def test_a_gpu_trains_the_same_net_on_the_same_data(tmp_path):
    for device in ("cpu", "cuda"):
        train_here("depth=8", "recipe.epochs=3", f"device={device}", f"results={tmp_path / device}")
    one, other = (
        read_rows(tmp_path / d / "digits" / "residual-8-s0,recipe.epochs=3" / "metrics.csv") for d in ("cpu", "cuda")
    )
    assert one[0].train_error == pytest.approx(other[0].train_error, abs=3)
