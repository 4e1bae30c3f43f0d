"""CUDA's streams and graphs: on stand-ins for them, and on a GPU where there is one."""

import inspect
from dataclasses import replace

import pytest
import torch
from support.cuda import FakeCuda
from support.runs import rows
from support.trainers import CPU, SHORT, on_gpu, training

from resdepth.training.cuda import CudaGraph, Stream, StreamPool


@pytest.fixture
def cuda(monkeypatch):
    with FakeCuda().install(monkeypatch) as fake:
        yield fake
    assert fake.faults == []


def test_pytorch_has_what_is_used_of_it():
    assert {"stream", "capture_error_mode"} <= inspect.signature(torch.cuda.graph).parameters.keys()
    assert "device" in inspect.signature(torch.cuda.default_stream).parameters
    for owner, names in ((torch.cuda.Stream, "wait_stream record_event synchronize"), (torch.cuda.Event, "query")):
        assert all(hasattr(owner, name) for name in names.split())
    assert all(hasattr(torch.cuda.CUDAGraph, name) for name in ("replay", "reset"))


def test_a_graph_warms_up_captures_and_replays_on_one_stream_and_changes_nothing_before_its_replay(cuda):
    total, seen = torch.zeros(2), []

    def body():
        seen.append(cuda.current)
        total.add_(1)

    stream = Stream(CPU)
    stream.wait_for_default()
    graph = CudaGraph(body, [total], stream)
    assert seen == [cuda.streams[0]] * 4
    stream.synchronise()
    assert total.tolist() == [0, 0]
    for _ in range(3):
        graph()
    stream.synchronise()
    assert total.tolist() == [3, 3]
    assert len(seen) == 4  # replayed, not called
    assert cuda.current is cuda.default


def test_a_failed_capture_leaves_the_default_stream_current(cuda):
    calls = []

    def body():
        calls.append(1)
        if len(calls) == 4:
            raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(RuntimeError, match="previous error during capture"):
        CudaGraph(body, [], Stream(CPU))
    assert cuda.current is cuda.default


def test_a_stream_holds_four_steps_and_is_idle_when_their_events_are_done(cuda):
    stream = Stream(CPU)
    assert stream.is_idle
    for _ in range(3):
        stream.record_event()
    assert stream.can_submit
    stream.record_event()
    assert not stream.can_submit
    while not stream.is_idle:
        pass
    stream.record_event()
    stream.synchronise()
    assert stream.is_idle


def test_a_pool_hands_an_ended_runs_stream_to_the_next(cuda):
    pool = StreamPool()
    with pool.lend(CPU) as first, pool.lend(CPU) as second:
        assert first is not second
    with pool.lend(CPU) as third, pool.lend(CPU) as fourth:
        assert {third, fourth} == {first, second}
    with pytest.raises(ValueError), pool.lend(CPU):  # noqa: PT011
        raise ValueError
    assert len(cuda.streams) == 2


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("variant", ["plain", "residual"])
def test_a_captured_run_has_the_rows_of_an_eager_one(variant, precision, cuda, monkeypatch):
    recipe = replace(SHORT, eval_clean=True, eval_every=2, epochs=4)
    trainer = training(variant, recipe=recipe, precision=precision)
    captured = rows(trainer.epochs())
    assert [graph.replays for graph in cuda.graphs] == [
        16,
        2,
        2,
    ]  # the step, both evaluations (100 images are one batch)
    assert {graph.stream for graph in cuda.graphs} == {cuda.streams[0]}
    assert cuda.waits == {(cuda.streams[0], cuda.default): 4}
    trainer.close()
    assert cuda.streams[0].graphs == []
    monkeypatch.undo()
    assert rows(training(variant, recipe=recipe, precision=precision).epochs()) == captured


def test_an_eager_run_submits_all_its_work_to_its_stream(monkeypatch):
    with FakeCuda().install(monkeypatch, "eager") as cuda:
        trainer = training(recipe=replace(SHORT, eval_clean=True, epochs=2))
        on_stream = rows(trainer.epochs())
        trainer.close()
    assert cuda.faults == []
    assert cuda.graphs == []
    monkeypatch.undo()
    assert rows(training(recipe=replace(SHORT, eval_clean=True, epochs=2)).epochs()) == on_stream


def test_the_stand_ins_notice_what_one_stream_uses_too_early(monkeypatch):
    with FakeCuda().install(monkeypatch) as cuda:
        one, other, total = Stream(CPU), Stream(CPU), torch.zeros(1)
        one.wait_for_default()
        other.wait_for_default()
        with one.as_current():
            total.add_(1)
        with other.as_current():
            total.add_(1)
        assert len(cuda.faults) == 1
        other.synchronise()
        with one.as_current():
            total.add_(1)
        assert len(cuda.faults) == 1
        total.item()  # on the default stream
        assert len(cuda.faults) == 2


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_state_loaded_before_the_capture_is_continued_by_it(precision, cuda, monkeypatch):
    first = training(precision=precision)
    start = rows([next(first.epochs())])
    second = training(precision=precision)
    second.load_state_dict(first.state_dict())
    continued = start + rows(second.epochs())
    monkeypatch.undo()
    assert rows(training(precision=precision).epochs()) == continued


@pytest.mark.gpu
@pytest.mark.parametrize(("variant", "precision"), [("plain", "fp32"), ("residual", "tf32"), ("residual", "bf16")])
def test_a_captured_step_is_the_eager_step_bit_for_bit(variant, precision):
    """100 epochs of 4 steps: 400 steps, evaluations between them."""
    recipe = replace(SHORT, epochs=100)
    eager, graph = (
        rows(on_gpu(variant=variant, precision=precision, recipe=recipe, engine=e).epochs()) for e in ("eager", "graph")
    )
    assert eager == graph


@pytest.mark.gpu
def test_a_run_continued_from_a_checkpoint_replays_the_same_graph():
    whole = rows(on_gpu(engine="graph").epochs())
    first = on_gpu(engine="graph")
    start = rows([next(first.epochs())])
    second = on_gpu(engine="graph")
    second.load_state_dict(first.state_dict())
    assert start + rows(second.epochs()) == whole
