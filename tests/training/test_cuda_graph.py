"""Captured steps: warm-up and capture leave no trace in a run, and replays equal eager steps."""

import contextlib
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
from support.runs import rows
from support.trainers import SHORT, on_gpu, training

from resdepth.training import cuda_graph as graph
from resdepth.training import engine


class Tape:
    """Stands for a CUDA graph where there is no CUDA: what is captured is not done, and done at every replay."""

    def __init__(self):
        self.replays = 0

    def replay(self):
        self.replays += 1
        self.body()

    @contextlib.contextmanager
    def captured(self, **_):
        caller = sys._getframe(2).f_locals  # Captured.__init__
        self.body, changed = caller["body"], caller["changed"]
        before = [tensor.clone() for tensor in changed]
        yield
        with torch.no_grad():
            for tensor, value in zip(changed, before, strict=True):
                tensor.copy_(value)


@pytest.fixture
def tapes(monkeypatch):
    """Every run captured, on tapes."""
    made = []

    def tape():
        made.append(Tape())
        return made[-1]

    stream = SimpleNamespace(wait_stream=lambda _: None)
    cuda = SimpleNamespace(
        current_stream=lambda: stream,
        Stream=lambda: stream,
        stream=lambda _: contextlib.nullcontext(),
        CUDAGraph=tape,
        graph=lambda tape, **words: tape.captured(**words),
    )
    monkeypatch.setattr(graph, "torch", SimpleNamespace(cuda=cuda))
    monkeypatch.setattr(engine, "is_captured", lambda *_: True)
    return made


@pytest.mark.parametrize("variant", ["plain", "residual"])
def test_warm_up_and_capture_leave_no_trace_in_the_run(variant, tapes, monkeypatch):
    recipe = replace(SHORT, eval_clean=True, eval_every=2, epochs=4)
    captured = rows(training(variant, recipe=recipe).epochs())
    assert [tape.replays for tape in tapes] == [16, 2, 2]  # the step, both evaluations (100 images are one batch)
    monkeypatch.undo()
    assert rows(training(variant, recipe=recipe).epochs()) == captured


def test_a_state_loaded_before_the_capture_is_continued_by_it(tapes, monkeypatch):
    first = training()
    start = rows([next(first.epochs())])
    second = training()
    second.load_state_dict(first.state_dict())
    continued = start + rows(second.epochs())
    monkeypatch.undo()
    assert rows(training().epochs()) == continued


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
def test_a_run_continued_from_a_checkpoint_replays_the_same_graph(tmp_path):
    whole = rows(on_gpu(engine="graph").epochs())
    first = on_gpu(engine="graph")
    start = rows([next(first.epochs())])
    second = on_gpu(engine="graph")
    second.load_state_dict(first.state_dict())
    assert start + rows(second.epochs()) == whole
