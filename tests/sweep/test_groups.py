"""Which runs share a process, and how many at once."""

import pytest
import torch
from support.runs import TINY, train_here

from resdepth.cli.plans import print_concurrency
from resdepth.sweep import groups
from resdepth.sweep.groups import make_groups
from resdepth.sweep.plan import make_plan


@pytest.fixture(autouse=True)
def _two_cores(monkeypatch):
    monkeypatch.setattr(groups, "cores", lambda: 2)


def groups_of(plan):
    return make_groups(plan.runs, plan.pending)


def test_how_many_at_once_follows_from_the_whole_plan_not_from_what_is_left(tmp_path):
    words = ("depth=8,14", "variant=plain", f"results={tmp_path}", *TINY)
    (group,) = groups_of(make_plan(words))
    assert (len(group.runs), group.concurrency, group.uses_processes) == (2, 2, True)
    train_here("depth=8", *words[1:])
    (group,) = groups_of(make_plan(words))
    assert (len(group.runs), group.concurrency, group.uses_processes) == (1, 2, True)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("depth=8", "variant=plain"), [(1, 1)]),
        (("depth=8,14,20",), [(6, 2)]),
        (("depth=8,14,20", "runs_per_job=1"), [(6, 1)]),
        (("depth=8,14,20", "runs_per_job=4"), [(6, 4)]),
        # As many at once as leave each its threads.
        (("depth=8,14,20", "threads=1"), [(6, 2)]),
        (("depth=8,14,20", "threads=2"), [(6, 1)]),
        (("depth=8,14,20", "threads=3"), [(6, 1)]),
        (("depth=8,14,20", "threads=2", "runs_per_job=3"), [(6, 3)]),
        # Precision is a setting of the whole process.
        (("depth=8,14,20", "precision=fp32,bf16"), [(6, 2), (6, 2)]),
    ],
)
def test_groups(words, expected, tmp_path):
    plan = make_plan([*words, "device=cpu", f"results={tmp_path}"])
    assert [(len(group.runs), group.concurrency) for group in groups_of(plan)] == expected


def test_no_more_run_at_once_than_the_memory_holds(monkeypatch, tmp_path):
    plan = make_plan(["depth=8,14", "variant=plain", "device=cpu", f"results={tmp_path}"])
    one = max(run.own_memory_bytes + run.process_memory_bytes for run in plan.runs)
    monkeypatch.setattr(groups.devices, "free_memory", lambda _: 1.5 * one)
    assert groups_of(plan)[0].concurrency == 1
    monkeypatch.setattr(groups.devices, "free_memory", lambda _: 2 * one)
    assert groups_of(plan)[0].concurrency == 2
    group = groups_of(plan)[0]
    assert (group.wanted, group.fitting) == (2, 2)


@pytest.mark.parametrize(
    ("words", "concurrency", "line"),
    [
        ("runs_per_job=auto", 3, "3 runs at once instead of 8: the free memory is too small for more.\n"),
        (
            "runs_per_job=8",
            8,
            "runs_per_job=8: the free memory is expected to hold 3; "
            "a run that gets no memory fails, the others continue.\n",
        ),
        ("runs_per_job=2", 2, ""),
    ],
)
def test_a_sweep_whose_runs_do_not_all_fit_says_how_many_do(words, concurrency, line, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(groups, "cores", lambda: 8)
    plan = make_plan(["depth=8,14,20,26", words, "device=cpu", f"results={tmp_path}"])
    sizes = sorted((run.own_memory_bytes + run.process_memory_bytes for run in plan.runs), reverse=True)
    monkeypatch.setattr(groups.devices, "free_memory", lambda _: sum(sizes[:3]))
    made = groups_of(plan)
    assert made[0].concurrency == concurrency
    print_concurrency(made)
    assert capsys.readouterr().out == line


@pytest.mark.parametrize(
    ("device", "engine", "expected"), [("cpu", "auto", True), ("cpu", "compiled", False), ("cuda", "auto", False)]
)
def test_threads_are_pinned_where_nothing_else_would_inherit_their_core(device, engine, expected, monkeypatch):
    plan = make_plan(["depth=8", "variant=plain", "device=cpu", f"engine={engine}"])
    (group,) = groups_of(plan)
    monkeypatch.setattr(groups.devices, "resolve", lambda _: torch.device(device))
    assert group.pins_threads == expected


def test_on_a_gpu_the_runs_share_the_data_and_the_libraries(monkeypatch, tmp_path):
    plan = make_plan(["depth=8,14", "variant=plain", "device=cpu", f"results={tmp_path}"])
    own = sum(run.own_memory_bytes for run in plan.runs)
    monkeypatch.setattr(groups.devices, "resolve", lambda _: torch.device("cuda"))
    for free, expected in ((own + plan.runs[0].process_memory_bytes, 2), (own, 1)):
        monkeypatch.setattr(groups.devices, "free_memory", lambda _, free=free: free)
        assert groups._fitting(plan.runs, 2) == expected
