"""Several captured runs in turns, on stand-ins for CUDA: who uses which stream, and what remains after a failure."""

import gc
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from support.commands import ROOT
from support.cuda import FakeCuda
from support.runs import Order, all_rows, execute_here, sweep_rows

from resdepth.results.files.lock import locked
from resdepth.sweep import run as run_module
from resdepth.sweep.observer import Observer
from resdepth.sweep.plan import make_plan
from resdepth.sweep.run import train_interleaved
from resdepth.training import cuda as cuda_module

# Eight runs of unequal length, with two evaluations each.
EIGHT = (
    "depth=8", "variant=plain,residual", "recipe.epochs=1,2,3,4", "data.limit=60", "recipe.batch_size=20",
    "recipe.eval_clean=true", "device=cpu",
)  # fmt: skip
GRAPHS = 3  # of a run: the step, and the evaluation of each split


@pytest.fixture
def cuda(monkeypatch):
    with FakeCuda().install(monkeypatch) as fake:
        yield fake
    assert fake.faults == []
    assert [stream.graphs for stream in fake.streams] == [[]] * len(fake.streams), "a run's graphs were not released"
    assert fake.current is fake.default


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The rows of the eight runs, trained eagerly and one after the other, by directory."""
    results = tmp_path_factory.mktemp("alone")
    execute_here(*EIGHT, "runs_per_job=1", f"results={results}")
    return all_rows(results)


def plan(results):
    return make_plan([*EIGHT, f"results={results}"])


class Streams(Order):
    """Hears, of each run, on which streams its graphs were captured, and which were at work at the same time."""

    def __init__(self, cuda):
        super().__init__()
        self.cuda, self.active, self.most = cuda, set(), 0

    def on_start(self, run, epochs_done):
        super().on_start(run, epochs_done)
        self.active.add(run.label)
        self.most = max(self.most, len(self.active))

    def on_step(self, run, iteration):
        held = [len(stream.graphs) for stream in self.cuda.streams]
        assert max(held) <= GRAPHS, "a stream was handed on with graphs of the run before"

    def on_end(self, run, outcome, last):
        super().on_end(run, outcome, last)
        self.active.discard(run.label)


@pytest.mark.parametrize("concurrency", [1, 3, 8])
def test_runs_share_no_stream_and_no_more_exist_than_run_at_once(concurrency, cuda, alone, tmp_path):
    observer = Streams(cuda)
    outcomes = train_interleaved(plan(tmp_path).runs, concurrency, observer)
    assert [o.state for o in outcomes] == ["finished"] * 8
    assert observer.most == len(cuda.streams) == concurrency
    assert len(cuda.graphs) == 8 * GRAPHS
    # Four steps at most wait on a stream, and the evaluation after them.
    assert 1 < cuda.most_in_flight <= 5
    assert all_rows(tmp_path) == alone


def test_an_exception_in_one_run_ends_that_run_alone(cuda, alone, tmp_path):
    class Breaks(Streams):
        def on_epoch(self, run, record):
            super().on_epoch(run, record)
            if run.label.startswith("residual") and run.config.recipe.epochs == 4 and record.epoch == 2:
                raise OSError(28, "No space left on device")

    runs = plan(tmp_path).runs
    outcomes = train_interleaved(runs, 3, Breaks(cuda))
    (failed,) = (run for run, o in zip(runs, outcomes, strict=True) if o.state == "failed")
    assert failed.label.startswith("residual")
    rest = {name: rows for name, rows in alone.items() if name != failed.label}
    assert {name: rows for name, rows in all_rows(tmp_path).items() if name != failed.label} == rest
    # Continued by the same command, it has the rows that it would have had.
    assert [o.state for o in train_interleaved(plan(tmp_path).pending, 3, Observer())] == ["finished"]
    assert all_rows(tmp_path) == alone


@pytest.mark.parametrize("call", [2, 4], ids=["in the warm-up", "in the capture"])
def test_out_of_memory_in_one_run_ends_that_run_alone(call, cuda, alone, tmp_path, monkeypatch):
    """A failed capture hides the error behind another one."""

    class Full(run_module.Trainer):
        def __init__(self, config, *rest):
            super().__init__(config, *rest)
            if config.variant == "plain" and config.recipe.epochs == 3:
                calls, whole = [], self.net.forward

                def forward(x):
                    calls.append(1)
                    if len(calls) == call:
                        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
                    return whole(x)

                self.net.forward = forward

    monkeypatch.setattr(run_module, "Trainer", Full)
    runs = plan(tmp_path).runs
    outcomes = {run.label: o for run, o in zip(runs, train_interleaved(runs, 8, Observer()), strict=True)}
    assert sorted(o.state for o in outcomes.values()) == ["failed", *["finished"] * 7]
    (failed,) = (label for label, o in outcomes.items() if o.state == "failed")
    remedy = "use runs_per_job=4, recipe.batch_size=10, a smaller model.width or a lower depth"
    assert outcomes[failed].message == f"out of memory on the device; {remedy}"
    others = {name: rows for name, rows in alone.items() if name != failed}
    assert {name: rows for name, rows in all_rows(tmp_path).items() if name != failed} == others


@pytest.mark.parametrize(
    "message",
    [
        "CUDA out of memory. Tried to allocate 2 GiB",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
        "GET was unable to find an engine to execute this computation",
        "[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory",
    ],
)
def test_every_way_to_say_that_memory_is_lacking_is_understood(message):
    assert run_module._is_out_of_memory(RuntimeError(message))
    assert not run_module._is_out_of_memory(RuntimeError("CUDA error: an illegal memory access was encountered"))


def test_a_failed_runs_memory_is_released_only_when_the_device_has_done_its_work(cuda, tmp_path):
    in_flight = []

    class Breaks(Observer):
        def on_step(self, run, iteration):
            if iteration == 2:
                in_flight.append(sum(stream.in_flight for stream in cuda.streams))
                raise RuntimeError("anything")

    outcomes = train_interleaved(plan(tmp_path).runs, 8, Breaks())
    assert {o.state for o in outcomes} == {"failed"}
    # The stand-ins note a graph that is released while steps are in flight.
    assert len(in_flight) == 8
    assert min(in_flight) > 0


def test_a_signal_in_the_middle_leaves_no_work_no_lock_and_what_continues(cuda, alone, tmp_path):
    class Interrupts(Observer):
        steps = 0

        def on_step(self, run, iteration):
            self.steps += 1
            if self.steps == 25:
                raise KeyboardInterrupt

    runs = plan(tmp_path).runs
    with pytest.raises(KeyboardInterrupt):
        train_interleaved(runs, 8, Interrupts())
    assert sum(stream.in_flight for stream in cuda.streams) == 0
    for run in runs:
        with locked(run.directory):
            assert not list(run.directory.glob("*.part"))
    assert {o.state for o in train_interleaved(plan(tmp_path).pending, 8, Observer())} == {"finished"}
    assert all_rows(tmp_path) == alone


@pytest.mark.gpu
def test_on_a_gpu_runs_share_no_stream_and_have_the_rows_of_runs_alone(tmp_path, measurement, monkeypatch):
    made = []

    class Counted(cuda_module.Stream):
        def __init__(self, device):
            super().__init__(device)
            made.append(self._stream.cuda_stream)

    monkeypatch.setattr(cuda_module, "Stream", Counted)
    words = ("depth=8,14", "seed=0,1,2", "recipe.epochs=2", "recipe.eval_clean=true", "device=cuda")
    together = sweep_rows(tmp_path / "together", *words, "runs_per_job=8")
    measurement(f"12 runs, 8 at once: {len(set(made))} streams")
    assert len(made) == len(set(made)) == 8
    assert together == sweep_rows(tmp_path / "alone", *words, "runs_per_job=1")


@pytest.mark.gpu
@pytest.mark.parametrize("is_native", ["false", "true"])
def test_on_a_gpu_eight_runs_in_tf32_do_not_wait_for_each_other(is_native, tmp_path, measurement):
    """cuDNN's channels-last batch norm waits until all of its blocks are on the device, which others occupy."""
    random = np.random.default_rng(0)
    images, labels = random.integers(0, 256, (2560, 32, 32, 3)).astype(np.uint8), np.arange(2560) % 10
    np.savez(tmp_path / "random.npz", x_train=images, y_train=labels, x_test=images[:100], y_test=labels[:100])
    words = ["depth=20,56", "seed=0,1", "data=npz", f"data.path={tmp_path}/random.npz", "recipe=cifar10"]
    words += ["recipe.iterations=200", "precision=tf32", "runs_per_job=8", f"native_batch_norm={is_native}"]
    words += ["device=cuda", f"results={tmp_path}/results"]
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "resdepth", "sweep", *words], cwd=ROOT, capture_output=True, text=True, check=False,
        timeout=90,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    taken = time.perf_counter() - started
    measurement(f"eight runs at once in tf32, native_batch_norm={is_native}: the command took {taken:.1f} s")


@pytest.mark.gpu
def test_on_a_gpu_a_run_without_memory_ends_alone_and_its_memory_is_free_again(tmp_path, measurement):
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.empty_cache()
    before = torch.cuda.memory_reserved()
    # The net of width 512 has 1.1 GB of weights and as much momentum; its copies for the warm-up are too much.
    torch.cuda.set_per_process_memory_fraction(min(1.0, (before + 3 * 2**30) / total))
    try:
        words = ("depth=20", "variant=plain", "model.width=16,24,512,32", "recipe.epochs=2", "device=cuda")
        outcomes = execute_here(*words, "runs_per_job=4", f"results={tmp_path}")
        assert [o.state for o in outcomes] == ["finished", "finished", "failed", "finished"]
        assert outcomes[2].message.startswith("out of memory on the device; use runs_per_job=2")
        gc.collect()
        torch.cuda.empty_cache()
        left = (torch.cuda.memory_reserved() - before) / 2**20
        measurement(f"memory still reserved after a run that found none: {left:,.0f} MiB")
        assert left < 500
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
