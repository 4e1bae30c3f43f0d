"""Runs side by side: in turns in one process, and in processes of their own on a CPU. The same rows as alone."""

import contextlib
import os
import signal
import sys
import time
from pathlib import Path

import pytest
from conftest import TINY, train_here
from test_kill import WORDS, all_rows, start, wait_for_rows

from resdepth import host
from resdepth.sweep import groups, processes
from resdepth.sweep.groups import make_groups
from resdepth.sweep.launch import execute
from resdepth.sweep.observer import Observer
from resdepth.sweep.plan import make_plan
from resdepth.sweep.run import train_interleaved


@pytest.fixture(autouse=True)
def _two_cores(monkeypatch):
    monkeypatch.setattr(groups, "cores", lambda: 2)


def sweep_rows(folder, *words):
    outcomes = execute(make_plan([*words, f"results={folder}"]), Observer)
    assert {o.state for o in outcomes} == {"finished"}
    return all_rows(folder)


class Order(Observer):
    def __init__(self):
        self.heard = []

    def on_start(self, run, epochs_done):
        self.heard.append(("on_start", run.config.depth))

    def on_epoch(self, run, record):
        self.heard.append(("on_epoch", run.config.depth, record.epoch))

    def on_end(self, run, outcome, last):
        self.heard.append(("on_end", run.config.depth, outcome.state, last and last.epoch))


def test_runs_in_turns_have_the_rows_of_runs_alone(tmp_path):
    words = ("depth=8,14", "variant=residual", *TINY)
    train_here(*words, f"results={tmp_path / 'alone'}")
    order = Order()
    outcomes = train_interleaved(make_plan([*words, f"results={tmp_path / 'turns'}"]).runs, 2, order)
    assert [o.state for o in outcomes] == ["finished"] * 2
    assert all_rows(tmp_path / "turns") == all_rows(tmp_path / "alone")
    # Both began before either had a row: they did take turns, the deeper first.
    assert order.heard[:2] == [("on_start", 14), ("on_start", 8)]


def test_runs_in_processes_have_the_rows_of_runs_alone_and_report_every_one(tmp_path):
    words = ("depth=8,14", "variant=plain", *TINY)
    train_here(*words, f"results={tmp_path / 'alone'}")
    order = Order()
    outcomes = processes.train_in_processes(make_plan([*words, f"results={tmp_path / 'beside'}"]).runs, 2, order)
    assert [o.state for o in outcomes] == ["finished"] * 2
    assert all_rows(tmp_path / "beside") == all_rows(tmp_path / "alone")
    for depth in (8, 14):
        mine = [event for event in order.heard if event[1] == depth]
        assert mine == [
            ("on_start", depth), ("on_epoch", depth, 1), ("on_epoch", depth, 2), ("on_end", depth, "finished", 2)
        ]  # fmt: skip


def test_how_many_at_once_follows_from_the_whole_plan_not_from_what_is_left(tmp_path):
    words = ("depth=8,14", "variant=plain", f"results={tmp_path}", *TINY)
    (group,) = make_groups(make_plan(words))
    assert (len(group.runs), group.concurrency, group.uses_processes) == (2, 2, True)
    train_here("depth=8", *words[1:])
    (group,) = make_groups(make_plan(words))
    assert (len(group.runs), group.concurrency, group.uses_processes) == (1, 2, True)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("depth=8", "variant=plain"), [(1, 1)]),
        (("depth=8,14,20",), [(6, 2)]),
        (("depth=8,14,20", "runs_per_job=1"), [(6, 1)]),
        (("depth=8,14,20", "runs_per_job=4"), [(6, 4)]),
        # Precision is a setting of the whole process.
        (("depth=8,14,20", "precision=fp32,bf16"), [(6, 2), (6, 2)]),
        # Another launcher distributes the jobs itself: one run each, unless said otherwise.
        (("depth=8,14,20", "hydra/launcher=joblib"), [(1, 1)] * 6),
        (("depth=8,14,20", "hydra/launcher=joblib", "runs_per_job=4"), [(4, 4), (2, 4)]),
    ],
)
def test_groups(words, expected, tmp_path):
    plan = make_plan([*words, "device=cpu", f"results={tmp_path}"])
    assert [(len(group.runs), group.concurrency) for group in make_groups(plan)] == expected


def test_no_more_run_at_once_than_the_memory_holds(monkeypatch, tmp_path):
    plan = make_plan(["depth=8,14", "variant=plain", "device=cpu", f"results={tmp_path}"])
    one = max(run.estimated_memory_bytes for run in plan.runs)
    monkeypatch.setattr(groups.devices, "free_memory", lambda _: 1.5 * one)
    assert make_groups(plan)[0].concurrency == 1
    monkeypatch.setattr(groups.devices, "free_memory", lambda _: 2 * one)
    assert make_groups(plan)[0].concurrency == 2


@pytest.mark.parametrize(
    ("limit", "threads", "expected"),
    [
        ([], "", 8),
        (["max", "100000"], "", 8),
        (["250000", "100000"], "", 2),
        (["50000", "100000"], "", 1),
        ([], "3", 3),
    ],
)
def test_cores_are_those_the_container_and_the_user_allow(monkeypatch, limit, threads, expected):
    monkeypatch.setattr(host.os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr(host, "container_limit", lambda _: limit)
    monkeypatch.setenv("OMP_NUM_THREADS", threads)
    assert host.cores() == expected


def parents():
    """The parent of every process there is, by number."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            found[int(stat.parent.name)] = int(stat.read_text().rpartition(") ")[2].split()[1])
    return found


def children(process):
    """The processes below this one."""
    above, found = parents(), {process.pid}
    while new := {pid for pid, parent in above.items() if parent in found} - found:
        found |= new
    return found - {process.pid}


def trainers(process):
    """Of those, the ones that train: children of the fork server, which is the command's child."""
    above = parents()
    return {pid for pid in children(process) if above.get(pid) != process.pid}


def begin(folder, *words):
    return start(*words, cwd=folder, cores=2)


def gone(pids, seconds=5):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not any(Path(f"/proc/{pid}").exists() for pid in pids):
            return True
        time.sleep(0.05)
    return False


linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")


@linux
def test_a_killed_process_fails_its_run_alone_and_the_same_command_continues_it(tmp_path):
    whole = tmp_path / "whole"
    whole.mkdir()
    assert begin(whole, *WORDS, "-q").wait(120) == 0
    process = begin(tmp_path, *WORDS, "-q")
    wait_for_rows(tmp_path / "results", process)
    os.kill(min(trainers(process)), signal.SIGKILL)
    said = process.communicate(timeout=120)[1]
    assert process.returncode == 1
    assert said.count("\n") == 1
    assert "its process was killed by signal 9; say the same command again, which continues the run" in said
    assert len(make_plan([*WORDS[1:], f"results={tmp_path / 'results'}"]).pending) == 1
    assert begin(tmp_path, *WORDS, "-q").wait(120) == 0
    assert all_rows(tmp_path / "results") == all_rows(whole / "results")


@linux
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_a_signal_to_the_command_ends_all_its_processes(tmp_path, number, code):
    process = begin(tmp_path, *WORDS)
    wait_for_rows(tmp_path, process)
    below = children(process)
    assert len(trainers(process)) == 2
    process.send_signal(number)
    said = process.communicate(timeout=30)[1]
    assert process.returncode == code
    assert gone(below)
    if code > 0:
        assert said == f"resdepth: stopped; to continue: resdepth {' '.join(WORDS)}\n"


def test_a_run_that_fails_in_its_process_says_why_and_the_others_go_on(tmp_path):
    words = ("depth=8,14", "variant=plain", f"results={tmp_path}", *TINY)
    plan = make_plan(words)
    plan.runs[0].directory.mkdir(parents=True)
    (plan.runs[0].directory / "checkpoint.pt").write_bytes(b"rubbish")
    failed, finished = processes.train_in_processes(plan.runs, 2, Observer())
    assert failed.state == "failed"
    assert "is no checkpoint of this program" in failed.message
    assert finished.state == "finished"
