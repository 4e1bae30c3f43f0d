"""Every GPU of a machine: a process for each, with several runs at once in it. CPU processes stand in for GPUs."""

import os
import signal
from pathlib import Path

import pytest
import torch
from support.platforms import linux
from support.processes import children_of
from support.runs import TINY, sweep_rows

from resdepth import device as devices
from resdepth.cli.plans import print_concurrency
from resdepth.sweep import groups
from resdepth.sweep.groups import make_groups
from resdepth.sweep.jobs.launch import launch
from resdepth.sweep.observer import Observer
from resdepth.sweep.plan import make_plan
from resdepth.sweep.preflight import estimate_seconds, preflight

pytestmark = pytest.mark.usefixtures("elsewhere")


@pytest.fixture
def two_devices(monkeypatch):
    """`device=auto` finds two GPUs, each of which is a process on the CPU."""
    monkeypatch.setattr(groups.devices, "every", lambda name: ("cpu", "cpu") if name == "auto" else (name,))


def grouped(*words):
    plan = make_plan(words)
    (group,) = make_groups(plan.runs, plan.pending)
    return group


@pytest.mark.parametrize(
    ("name", "count", "expected"),
    [
        ("auto", 2, ("cuda:0", "cuda:1")),
        ("cuda", 3, ("cuda:0", "cuda:1", "cuda:2")),
        ("cuda:1", 2, ("cuda:1",)),
        ("cpu", 2, ("cpu",)),
        ("cuda", 1, ("cuda",)),
        ("auto", 0, ("auto",)),
    ],
)
def test_auto_and_cuda_stand_for_every_gpu(name, count, expected, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    assert devices.every(name) == expected


@pytest.mark.usefixtures("two_devices")
def test_the_runs_are_divided_so_that_all_devices_end_together(monkeypatch, capsys):
    monkeypatch.setattr(groups, "_fitting", lambda runs, wanted: wanted)
    group = grouped("depth=8,14,20,56", "variant=plain", "runs_per_job=3")
    assert [[run.config.depth for run in part.runs] for part in group.parts] == [[56], [20, 14, 8]]
    assert {run.config.device for part in group.parts for run in part.runs} == {"cpu"}
    assert (group.concurrency, group.uses_processes, len(group.runs)) == (3, True, 4)
    print_concurrency([group])
    assert capsys.readouterr().out == "The runs are divided among 2 devices, up to 2 at once on each.\n"


@pytest.mark.usefixtures("two_devices")
def test_one_run_needs_one_device():
    group = grouped("depth=8", "variant=plain")
    assert (group.parts, len(group.runs)) == ((), 1)


@pytest.mark.usefixtures("two_devices")
def test_a_device_of_its_own_is_not_shared():
    assert grouped("depth=8,14", "device=cpu").parts == ()


@pytest.mark.slow
@pytest.mark.usefixtures("two_devices")
def test_the_rows_are_those_of_one_device():
    words = ("depth=8,14", "seed=0,1", *TINY[:2], "threads=1")
    several = sweep_rows(Path("several"), *words, "runs_per_job=2")
    assert several == sweep_rows(Path("one"), *words, "device=cpu", "runs_per_job=1")


@linux
@pytest.mark.slow
@pytest.mark.usefixtures("two_devices")
def test_a_process_that_is_killed_ends_the_runs_of_its_device_alone():
    """Killed after its first epoch; the runs of the other device end as if nothing had happened."""

    class KillsOne(Observer):
        def __init__(self):
            self.killed, self.processes, self.ended = None, set(), {}

        def on_epoch(self, run, record):
            processes = {pid for server in children_of(os.getpid()) for pid in children_of(server)}
            self.processes |= processes
            if self.killed is None and len(processes) == 2:
                self.killed = min(processes)
                os.kill(self.killed, signal.SIGKILL)

        def on_end(self, run, outcome, last):
            self.ended[run.label] = outcome

    observer, words = KillsOne(), ("depth=8", "variant=plain", "seed=0,1,2,3", "recipe.epochs=12", "runs_per_job=2")
    outcomes = launch(preflight(make_plan(words)), observer)
    assert len(observer.processes) == 2
    assert [o.state for o in outcomes].count("finished") == 2
    failed = [o for o in outcomes if o.state == "failed"]
    assert {o.message for o in failed} == {
        "its process was killed by signal 9; run the same command again, which continues the run"
    }
    assert len(observer.ended) == 4
    assert {o.state for o in launch(preflight(make_plan(words)), Observer())} == {"finished"}


@pytest.mark.usefixtures("two_devices")
def test_the_estimate_counts_on_all_of_them(monkeypatch):
    monkeypatch.setattr(groups, "_fitting", lambda runs, wanted: wanted)
    words = ("depth=8", "variant=plain", "seed=0,1,2,3,4,5,6,7", "runs_per_job=1")
    both = estimate_seconds(preflight(make_plan(words)))
    one = estimate_seconds(preflight(make_plan([*words, "device=cpu"])))
    assert 0.3 < both / one < 0.8


@pytest.mark.gpu
def test_every_gpu_trains():
    """On a machine with several GPUs."""
    if torch.cuda.device_count() < 2:
        pytest.skip("needs two CUDA devices")
    words = ("depth=8", "variant=plain", "seed=0,1,2,3", *TINY[:2])
    assert {run.config.device for part in grouped(*words).parts for run in part.runs} >= {"cuda:0", "cuda:1"}
    assert sweep_rows(Path("several"), *words) == sweep_rows(Path("one"), *words, "device=cuda:0")
