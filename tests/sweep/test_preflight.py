"""What would fail, and how long it takes, known before the first run."""

import contextlib
import time
from dataclasses import replace
from pathlib import Path

import pytest
from support.cuda import FakeCuda
from support.runs import execute_here
from support.trainers import CPU

import resdepth.sweep.groups
from resdepth.errors import ConfigError
from resdepth.sweep import preflight as preflight_module
from resdepth.sweep.jobs.launch import launch
from resdepth.sweep.observer import Observer
from resdepth.sweep.plan import make_plan, make_specs
from resdepth.sweep.preflight import estimate_seconds, preflight, timed_trainers, timing_data
from resdepth.training.timing import windows

pytestmark = pytest.mark.usefixtures("elsewhere")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("device=cuda:99", r"device=cuda:99: torch finds no such CUDA device"),
        ("device=cpu precision=tf32", r"precision=tf32: needs a CUDA device; on cpu use fp32 or bf16"),
        (
            "results=/dev/null/x",
            r"results=/dev/null/x: /dev/null/x/digits cannot be written to \(Not a directory\); set results=FOLDER",
        ),
        ("data.validation=2000", r"data.validation=2000: leaves fewer than 2 training images"),
    ],
)
def test_what_only_device_or_data_can_tell_is_found_before_the_first_run(words, message):
    with pytest.raises(ConfigError, match=message):
        execute_here("depth=8", *words.split())
    assert not list(Path().iterdir())


@pytest.fixture
def measured(monkeypatch):
    """What the estimate times: (engine, precision, deeper net, at once). A step takes 1 ms a layer, at once a third."""
    asked = []

    def measure(spec, deep, count):
        asked.append((spec.config.engine, spec.config.precision, deep, count))
        return preflight_module._Probe({8: 0.008, 20: 0.020}, 3.0 if count > 1 else 1.0)

    monkeypatch.setattr(preflight_module, "_measure", measure)
    monkeypatch.setattr(preflight_module, "_RUN_SECONDS", 0.0)
    return asked


def estimate(*words, groups=None):
    ready = preflight(make_plan(["variant=plain", "device=cpu", *words]))
    return estimate_seconds(replace(ready, groups=groups(ready.groups)) if groups else ready)


def test_the_estimate_grows_with_depth_and_length(measured, monkeypatch):
    monkeypatch.setattr(resdepth.sweep.groups, "cores", lambda: 2)
    epoch = 12 * 20  # steps
    assert estimate("depth=8") == pytest.approx(0.008 * epoch)
    assert estimate("depth=8", "recipe.epochs=2000") == pytest.approx(0.008 * 12 * 2000)
    assert estimate("depth=110") == pytest.approx(0.110 * epoch)
    # Two processes of one thread each: no run waits for the other.
    assert estimate("depth=8", "seed=0,1") == pytest.approx(0.008 * epoch)
    assert estimate("depth=8,110", "seed=0,1") == pytest.approx((0.008 + 0.110) * epoch)
    assert estimate("depth=8,110") == pytest.approx(0.110 * epoch)  # no less than the longest


def test_a_run_takes_time_besides_its_steps(measured, monkeypatch):
    monkeypatch.setattr(preflight_module, "_RUN_SECONDS", 2.0)
    monkeypatch.setattr(resdepth.sweep.groups, "cores", lambda: 2)
    steps = 0.008 * 12 * 20
    assert estimate("depth=8") == pytest.approx(steps + 2)
    assert estimate("depth=8", "seed=0,1,2,3") == pytest.approx((4 * steps + 4 * 2) / 2)
    # One after the other, or interleaved on a GPU, each waits for the others.
    assert estimate("depth=8", "seed=0,1,2,3", "runs_per_job=1") == pytest.approx(4 * steps + 4 * 2)


@pytest.mark.parametrize(("engine", "is_pinned"), [("eager", True), ("compiled", False)])
def test_steps_are_timed_with_the_threads_of_the_runs(engine, is_pinned, measured, monkeypatch):
    asked = []

    @contextlib.contextmanager
    def threads(count, *, pinned):
        asked.append((count, pinned))
        yield

    monkeypatch.setattr(preflight_module.devices, "threads", threads)
    estimate("depth=8", f"engine={engine}", "threads=1")
    assert asked == [(1, is_pinned)]


def test_runs_at_once_on_a_gpu_take_what_the_probe_has_gained(measured, monkeypatch):
    """On a GPU the runs share a process: here a group that is said to."""
    monkeypatch.setattr(resdepth.sweep.groups.Group, "uses_processes", False)
    epoch = 12 * 20
    words = ("depth=56", "seed=0,1,2,3,4,5,6,7", "runs_per_job=8")
    assert estimate(*words) == pytest.approx(8 * 0.056 * epoch / 3)
    assert measured == [("auto", "fp32", 20, 8)]
    # A long run beside short ones is not shortened by them.
    assert estimate("depth=8,110", "runs_per_job=2") == pytest.approx(0.110 * epoch)


def test_the_engine_that_will_run_is_timed_once_for_runs_of_one_kind(measured):
    estimate("depth=8,14", "seed=0,1", "engine=compiled", "precision=fp32,bf16", "runs_per_job=1")
    assert measured == [("compiled", "fp32", 14, 1), ("compiled", "bf16", 14, 1)]


def test_for_processes_one_run_is_timed_alone_on_one_thread(measured, monkeypatch):
    monkeypatch.setattr(resdepth.sweep.groups, "cores", lambda: 2)
    estimate("depth=8", "seed=0,1")
    assert measured == [("auto", "fp32", 8, 1)]


def test_what_is_timed_is_compiled_before_and_closed_after(monkeypatch):
    compiled, closed = [], []

    class Closed(preflight_module.Trainer):
        def close(self):
            closed.append(self)

    monkeypatch.setattr(preflight_module, "compile_blocks", lambda trainer: compiled.append(trainer) or ())
    monkeypatch.setattr(preflight_module, "Trainer", Closed)
    (spec,) = make_specs(["depth=8", "variant=plain", "device=cpu"])
    with timed_trainers(spec, 3, timing_data(spec, CPU)) as trainers:
        assert compiled == trainers[:1]
        assert closed == []
    assert closed == trainers[::-1]


def test_several_runs_are_timed_with_at_most_four_steps_in_flight_each(monkeypatch):
    with FakeCuda().install(monkeypatch, "eager") as cuda:
        (spec,) = make_specs(["depth=8", "variant=plain", "device=cpu", "data.limit=20"])
        monkeypatch.setattr(preflight_module, "window_steps", lambda _: 12)
        with timed_trainers(spec, 2, timing_data(spec, CPU)) as trainers:
            assert next(windows(trainers, 12)) > 0
    assert cuda.most_in_flight == 4
    assert len(cuda.streams) == 2
    assert cuda.faults == []


def test_the_estimate_is_timed_on_the_device():
    assert 0 < estimate_seconds(preflight(make_plan(["depth=8", "device=cpu"]))) < 3600


def test_a_probe_times_the_smaller_net_alone_and_several_at_once():
    (spec,) = make_specs(["depth=56", "variant=plain", "device=cpu", "runs_per_job=1"])
    probe = preflight_module._measure(spec, 20, 2)
    assert sorted(probe.seconds) == [8, 20]
    assert 1.0 <= probe.gain < 3.0  # in one process on a CPU they take turns
    assert probe.seconds[8] < probe.seconds[20] < probe.step_seconds(56)
    assert probe.step_seconds(20) == pytest.approx(probe.seconds[20])


def test_windows_of_many_steps_do_not_leave_a_small_training_set(monkeypatch):
    """On CUDA twenty steps are timed as a whole; an index beyond the data would end the device's context."""
    monkeypatch.setattr(preflight_module, "window_steps", lambda _: 20)
    (spec,) = make_specs(["depth=8", "variant=plain", "device=cpu", "data.limit=100"])
    assert preflight_module._measure(spec, 8, 1).seconds[8] > 0


def test_no_deeper_net_is_timed_than_will_be_trained():
    (spec,) = make_specs(["depth=8", "variant=plain", "device=cpu"])
    probe = preflight_module._measure(spec, 8, 1)
    assert list(probe.seconds) == [8]
    assert probe.step_seconds(8) == probe.seconds[8]


@pytest.mark.gpu
def test_the_estimate_on_a_gpu_is_near_the_time_taken(tmp_path, measurement):
    words = ("depth=20,56", "recipe.epochs=200", "device=cuda", f"results={tmp_path}")
    ready = preflight(make_plan(words))
    started = time.perf_counter()
    estimated = estimate_seconds(ready)
    assert estimated is not None
    asked = time.perf_counter() - started
    started = time.perf_counter()
    assert {o.state for o in launch(ready, Observer())} == {"finished"}
    taken = time.perf_counter() - started
    measurement(f"estimate: {estimated:.1f} s, known after {asked:.1f} s; the sweep took {taken:.1f} s")
    assert taken / 4 < estimated < 4 * taken
