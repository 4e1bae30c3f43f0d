"""Blocks compiled in parallel processes: once for all runs of a process, while the other runs go on."""

import contextlib
import multiprocessing
import os
import shutil
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
from support.commands import ROOT
from support.cuda import FakeCuda
from support.runs import Order
from support.trainers import training

from resdepth.config.schema import ModelConfig
from resdepth.data.dataset import Shape
from resdepth.sweep import compilation
from resdepth.sweep import run as run_module
from resdepth.sweep.compilation import compile_blocks
from resdepth.sweep.plan import make_plan
from resdepth.sweep.run import train_interleaved


@pytest.fixture(autouse=True)
def _nothing_is_compiled_yet(monkeypatch):
    monkeypatch.setattr(compilation, "_in_progress", set())
    monkeypatch.setattr(compilation, "_done", set())


@pytest.mark.parametrize(("depth", "blocks"), [(8, {0, 1, 2}), (14, {0, 2, 3, 4, 5}), (20, {0, 3, 4, 6, 7})])
def test_every_shape_of_block_is_compiled_once(depth, blocks):
    assert set(compilation._distinct_blocks(depth, ModelConfig())) == blocks
    t = training(depth=depth)
    shapes = {}
    for number, block in enumerate(t.net.blocks):
        block.layer1.register_forward_pre_hook(lambda _, x, n=number: shapes.setdefault(n, tuple(x[0].shape)) and None)
    next(t.epochs())
    kinds = {number: (shapes[number], tuple(t.net.blocks[number].layer1.weight.shape)) for number in shapes}
    assert {kinds[number] for number in blocks} == set(kinds.values())
    assert len({kinds[number] for number in blocks}) == len(blocks)


@pytest.mark.parametrize("keys", [{"engine": "eager"}, {"engine": "compiled", "gradient_checkpointing": True}])
def test_what_is_not_compiled_does_not_wait(keys):
    assert list(compile_blocks(training(**keys))) == []


def test_an_interrupted_compilation_leaves_no_process_and_is_begun_again():
    waiting = compile_blocks(training(engine="compiled"))
    next(waiting)
    started = multiprocessing.active_children()
    assert started
    waiting.close()
    for process in started:
        process.join(5)
        assert not process.is_alive()
    assert compilation._in_progress == compilation._done == set()


def test_a_second_run_of_its_kind_waits_for_the_first_and_starts_no_processes():
    compiled = training(engine="compiled")
    first, second = compile_blocks(compiled), compile_blocks(training(engine="compiled", seed=3))
    next(first)
    children = set(multiprocessing.active_children())
    next(second)
    assert set(multiprocessing.active_children()) == children
    compilation._done.update(compilation._in_progress)
    first.close()
    assert list(second) == []


def test_a_net_of_one_block_per_stage_finds_its_blocks_among_those_of_a_deeper_one(monkeypatch):
    started = []

    class Done:
        def __init__(self, args, **_):
            started.append((args[1].depth, args[0]))

        def start(self):
            pass

        def is_alive(self):
            return False

    monkeypatch.setattr(compilation.multiprocessing, "get_context", lambda _: SimpleNamespace(Process=Done))
    for variant, depth in (("residual", 20), ("residual", 56), ("residual", 8), ("plain", 8)):
        list(compile_blocks(training(variant, depth=depth, engine="compiled")))
    assert sorted(started) == [(8, 0), (8, 1), (8, 2), *[(14, n) for n in (0, 2, 3, 4, 5)]]


@pytest.mark.parametrize(
    "difference", [{"native_batch_norm": True}, {"memory_format": "contiguous"}, {"precision": "bf16"}]
)
def test_another_kind_of_net_is_compiled_anew(difference, monkeypatch):
    started = []
    process = SimpleNamespace(start=lambda: started.append(1), is_alive=lambda: False)
    monkeypatch.setattr(
        compilation.multiprocessing, "get_context", lambda _: SimpleNamespace(Process=lambda **_: process)
    )
    for keys in ({}, difference, {}, difference):
        list(compile_blocks(training(depth=8, engine="compiled", **keys)))
    assert len(started) == 2 * 3


def test_a_process_that_cannot_start_is_reported_as_that(monkeypatch):
    def start():
        raise BlockingIOError(11, "Resource temporarily unavailable")

    process = SimpleNamespace(start=start)
    monkeypatch.setattr(
        compilation.multiprocessing, "get_context", lambda _: SimpleNamespace(Process=lambda **_: process)
    )
    with pytest.raises(BlockingIOError):
        list(compile_blocks(training(depth=8, engine="compiled")))
    assert compilation._in_progress == set()


def test_a_compilation_that_fails_is_left_to_the_training_process(monkeypatch, capsys):
    def fail(*_):
        raise RuntimeError("no compiler")

    t = training(depth=8, engine="compiled")
    monkeypatch.setattr(compilation, "Trainer", fail)
    shape = Shape(1, 8, 8, 10, 32)
    compilation._compile(0, t.config, shape, 1, 1, ())
    assert capsys.readouterr() == ("", "")
    monkeypatch.setenv("RESDEPTH_TRACEBACK", "1")
    compilation._compile(0, t.config, shape, 1, 1, ())
    assert "RuntimeError: no compiler" in capsys.readouterr().err


def test_a_compilation_that_hangs_is_left_to_the_training_process(monkeypatch):
    killed = []

    class Hangs:
        def __init__(self, **_):
            self.is_killed = False

        def start(self):
            pass

        def kill(self):
            self.is_killed = True
            killed.append(self)

        def is_alive(self):
            return not self.is_killed

    monkeypatch.setattr(compilation.multiprocessing, "get_context", lambda _: SimpleNamespace(Process=Hangs))
    monkeypatch.setattr(compilation, "_MOST_SECONDS", 0.05)
    end = time.monotonic() + 60
    for _ in compile_blocks(training(depth=8, engine="compiled")):
        assert time.monotonic() < end
    assert len(killed) == 3


def test_the_compilers_may_use_every_core(monkeypatch):
    asked = []

    @contextlib.contextmanager
    def threads(count, *, pinned):
        asked.append((count, pinned))
        yield

    t = training(depth=8, engine="compiled")
    monkeypatch.setattr(compilation.devices, "threads", threads)
    monkeypatch.setattr(compilation, "Trainer", lambda *_: None)
    compilation._compile(0, t.config, Shape(1, 8, 8, 10, 32), 1, 2, ())
    assert asked == [(2, False)]


def test_other_runs_go_on_while_the_blocks_of_one_are_compiled(tmp_path, monkeypatch):
    fake = FakeCuda().install(monkeypatch)

    def compile_slowly(trainer):
        if trainer.config.variant == "plain":
            yield from [None] * 500

    monkeypatch.setattr(run_module, "compile_blocks", compile_slowly)
    order = Order()
    words = ("depth=8", "recipe.epochs=3", "data.limit=60", "recipe.batch_size=20", "device=cpu")
    outcomes = train_interleaved(make_plan([*words, f"results={tmp_path}"]).runs, 2, order)
    assert [o.state for o in outcomes] == ["finished"] * 2
    assert fake.faults == []
    runs = [event for event in order.heard if event[0] != "on_start"]
    assert [event[0] for event in runs[:4]] == ["on_epoch"] * 3 + ["on_end"]  # of the residual net
    assert {event[0] for event in order.heard[:2]} == {"on_start"}


# Its main module imports torch nowhere but in the guard: see resdepth/sweep/compilation.py.
PROGRAM = """
import time

if __name__ == "__main__":
    from resdepth import device as devices

    import torch
    from support.trainers import train_steps, training
    from torch._dynamo.utils import counters

    from resdepth.sweep import compilation

    devices.set_precision("fp32", torch.device("cpu"))
    # One block of three, for the sake of time.
    compilation._distinct_blocks = lambda depth, model: [1]


    def train(seed):
        t = training(depth=8, engine="compiled", seed=seed)
        compiled = t.net.call_block
        t.net.call_block = lambda block, a: compiled(block, a) if block is t.net.blocks[1] else block(a)
        for _ in compilation.compile_blocks(t):
            time.sleep(0.01)
        train_steps(t, 2)


    train(seed=0)
    hits = counters["inductor"]["fxgraph_cache_hit"], counters["inductor"]["fxgraph_cache_miss"]
    frames = counters["stats"]["unique_graphs"]
    train(seed=1)
    print(*hits, frames, counters["stats"]["unique_graphs"])
"""


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("g++"), reason="torch.compile needs a C++ compiler on a CPU")
def test_the_training_process_loads_what_the_others_have_compiled_and_a_second_run_compiles_nothing(tmp_path):
    script = tmp_path / "program.py"
    script.write_text(PROGRAM)
    environment = os.environ | {
        "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache"),
        "PYTHONPATH": f"{ROOT}:{ROOT}/tests",
    }
    words = [sys.executable, script]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    hits, misses, graphs, graphs_after = map(int, done.stdout.split())
    assert (hits, misses) == (2, 0)  # forward and backward
    assert graphs == graphs_after == 1


@pytest.mark.gpu
def test_the_first_compiled_step_on_a_gpu_comes_within_90_seconds(tmp_path, measurement):
    import pandas as pd

    command = [sys.executable, "-m", "resdepth", "bench", "depth=56", "variant=residual", "data=cifar10", "device=cuda"]
    command += ["engine=compiled", "precision=tf32", "--no-usual", "--out", tmp_path / "bench"]
    environment = os.environ | {"TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache"), "RESDEPTH_TRACEBACK": "1"}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=150
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (row,) = pd.read_csv(tmp_path / "bench" / "bench.csv").to_dict("records")
    measurement(
        f"first compiled step of residual-56: after {row['first_step_seconds']:.0f} s with nothing in the cache"
    )
    assert row["first_step_seconds"] < 90
