"""What the bench measures, in which order, and that it ends in time."""

import contextlib
import itertools
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from resdepth import device as devices
from resdepth.bench.steps import baseline
from resdepth.bench.steps import measure as measure_module
from resdepth.bench.steps.measure import make_points, measure
from resdepth.data.synthetic import random_dataset
from resdepth.sweep.plan import make_specs


def specs(*words):
    return make_specs(["variant=residual", "device=cpu", *words])


@pytest.fixture
def cuda(monkeypatch):
    """Every device resolves to a CUDA device, of which nothing is asked."""
    monkeypatch.setattr(devices, "resolve", lambda _: torch.device("cuda"))


def described(points):
    return [
        (
            "usual" if p.is_baseline else p.spec.config.engine,
            p.count,
            p.spec.config.memory_format,
            p.spec.config.native_batch_norm,
        )
        for p in points
    ]


def in_order(points):
    return sorted(points, key=lambda point: point.rank)


def test_on_cuda_auto_is_every_engine_and_the_switches_of_which_only_a_measurement_can_tell(cuda):
    points = make_points(specs("depth=56", "precision=tf32"), [1, 2, 8], baseline=True)
    assert described(points) == [
        *[(engine, count, "auto", False) for engine in ("eager", "graph", "compiled") for count in (1, 2, 8)],
        ("graph", 1, "contiguous", False),
        ("graph", 1, "auto", True),
        ("graph", 8, "auto", True),
        ("usual", 1, "auto", False),
    ]


def test_the_most_telling_comes_first(cuda):
    points = make_points(specs("depth=56,20", "precision=tf32"), [1, 2, 8], baseline=True)
    first = [(p.spec.config.depth, *described([p])[0][:2]) for p in in_order(points)]
    assert first[:10] == [
        (depth, *what)
        for what in (("graph", 1), ("usual", 1), ("graph", 8), ("compiled", 1), ("compiled", 8))
        for depth in (56, 20)
    ]
    # Numbers between one and the most at once come last.
    assert {count for _, _, count in first[-6:]} <= {2, 8}


def test_the_other_memory_format_is_the_one_that_auto_does_not_choose(cuda):
    for precision, other in (("fp32", "channels_last"), ("tf32", "contiguous"), ("bf16", "contiguous")):
        points = make_points(specs("depth=8", f"precision={precision}"), [1], baseline=False)
        assert [p.spec.config.memory_format for p in points if p.spec.config.memory_format != "auto"] == [other]
        # In bfloat16 PyTorch has no other batch norm.
        assert any(p.spec.config.native_batch_norm for p in points) == (precision != "bf16")


def test_what_is_asked_for_is_measured_and_nothing_beside_it(cuda):
    points = make_points(specs("depth=8", "engine=graph", "memory_format=contiguous"), [1], baseline=False)
    assert described(points) == [("graph", 1, "contiguous", False)]


def test_the_usual_loop_of_a_net_is_measured_once_however_many_precisions_there_are(cuda):
    points = make_points(specs("depth=8", "precision=tf32,bf16"), [1], baseline=True)
    assert sum(point.is_baseline for point in points) == 1


def test_on_a_cpu_eager_alone_then_the_usual_loop_then_side_by_side():
    points = make_points(specs("depth=8"), [1, 2], baseline=True)
    assert [p[:2] for p in described(in_order(points))] == [("eager", 1), ("usual", 1), ("eager", 2)]


def test_windows_of_many_steps_do_not_leave_a_small_training_set(monkeypatch):
    monkeypatch.setattr(measure_module, "window_steps", lambda _: 20)
    (spec,) = specs("depth=8", "data.limit=100")
    assert measure_module._time(spec, 1, torch.device("cpu"), 1.0).seconds


def test_the_usual_loop_of_a_net_is_measured_once_however_it_is_executed():
    words = ("engine=eager,compiled", "gradient_checkpointing=false,true", "memory_format=auto,contiguous")
    points = make_points(specs("depth=8", *words), [1], baseline=True)
    assert sum(point.is_baseline for point in points) == 1
    assert len(points) == 9


def test_the_usual_loop_computes_nchw_throughout():
    (spec,) = specs("depth=8", "data=cifar10")
    net, _ = baseline._net_and_optimiser(spec, torch.device("cpu"))
    seen = []
    for module in net.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_hook(lambda module, x, y: seen.extend((x[0], y, module.weight)))
    net(torch.zeros(2, 3, 32, 32))
    assert len(seen) == 3 * 7
    assert all(tensor.is_contiguous() for tensor in seen)


@pytest.fixture
def slow(monkeypatch):
    """A step takes half a second, and n runs at once take n times as long; the clock is simulated."""
    now = [0.0]
    monkeypatch.setattr(measure_module.time, "perf_counter", lambda: now[0])

    def windows(trainers, steps):
        while True:
            now[0] += 0.5 * steps * len(trainers)
            yield 0.5

    @contextlib.contextmanager
    def timed_trainers(spec, count, data):
        yield [SimpleNamespace(step=lambda: None)] * count

    monkeypatch.setattr(measure_module, "windows", windows)
    monkeypatch.setattr(measure_module, "timed_trainers", timed_trainers)
    monkeypatch.setattr(measure_module, "timing_data", lambda *_: None)
    monkeypatch.setattr(measure_module, "begin_epoch", lambda _: None)
    monkeypatch.setattr(measure_module, "window_steps", lambda _: 20)
    monkeypatch.setattr(measure_module, "_WINDOWS", 20)
    monkeypatch.setattr(measure_module, "_WARM_UP", 3)
    monkeypatch.setattr(measure_module, "_WINDOW_SECONDS", 0.5)
    return now


@pytest.mark.parametrize("count", [1, 8])
def test_a_measurement_ends_after_twenty_seconds_however_many_run_at_once(count, slow):
    (spec,) = specs("depth=8")
    timing = measure_module._time(spec, count, torch.device("cpu"), 20.0)
    assert slow[0] <= 20 + 2 * 0.5 * count
    assert len(timing.seconds) >= 1
    assert set(timing.seconds) == {0.5}


def test_nothing_is_begun_after_the_minutes_and_what_is_left_out_says_so(slow):
    (spec,) = specs("depth=8")
    points = make_points([spec, replace(spec, config=replace(spec.config, depth=14))], [1], baseline=False)
    points = [replace(point, rank=rank) for point, rank in zip(itertools.chain(points, points), range(4), strict=True)]
    costs = [cost for _, cost in measure(points, minutes=0.4)]
    assert [bool(cost.note) for cost in costs] == [False, False, True, True]
    assert costs[-1].note == "left out: too little of the 0.4 minutes is left"
    assert slow[0] <= 24 + 1


def test_a_compilation_is_begun_only_if_it_can_end(slow, monkeypatch):
    monkeypatch.setattr(measure_module, "_MAX_SECONDS", 1.0)
    points = make_points(specs("depth=8", "engine=compiled"), [1, 2], baseline=False)
    points = [replace(point, rank=rank) for point, rank in zip([*points, *points], (1, 2, 3, 4), strict=True)]
    first = replace(
        points[0], rank=0, spec=replace(points[0].spec, config=replace(points[0].spec.config, engine="eager"))
    )
    # A minute is left for the first compilation but for a second; with it, all that follows needs no other.
    for minutes, expected in ((1.0, ["", "left out", "left out", "left out", "left out"]), (1.2, [""] * 5)):
        slow[0] = 0.0
        notes = [cost.note.partition(":")[0] for _, cost in measure([first, *points], minutes)]
        assert notes == expected


def test_the_usual_loop_ends_in_time():
    (spec,) = specs("depth=8", "recipe.batch_size=16")
    split = random_dataset(spec.shape, 16 * 50).train
    seconds = baseline.baseline_step_seconds(spec, split, torch.device("cpu"), 0, 10_000, 0.0)
    assert 1 <= len(seconds) < 10


def test_points_are_measured_in_the_order_of_their_rank(slow):
    points = make_points(specs("depth=8,14,20"), [1], baseline=False)
    points = [replace(point, rank=rank) for point, rank in zip(points, (2, 0, 1), strict=True)]
    assert [cost.depth for _, cost in measure(points)] == [14, 20, 8]


def test_without_minutes_everything_is_measured(slow):
    costs = list(measure(make_points(specs("depth=8,14,20"), [1], baseline=False)))
    assert [cost[1].note for cost in costs] == ["", "", ""]
