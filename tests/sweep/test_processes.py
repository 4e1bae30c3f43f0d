"""Runs in processes of their own: the same rows as alone, and a failure is reported."""

import json
import os
import signal
import time

import torch
from support.platforms import linux
from support.processes import is_running
from support.runs import TINY, Order, all_rows, train_here

from resdepth.sweep import processes
from resdepth.sweep.groups import Group
from resdepth.sweep.observer import Observer
from resdepth.sweep.plan import make_plan


def test_runs_in_processes_have_the_rows_of_runs_alone_and_report_every_one(tmp_path):
    words = ("depth=8,14", "variant=plain", *TINY)
    train_here(*words, f"results={tmp_path / 'alone'}")
    order = Order()
    outcomes = processes.train_in_processes(_group([*words, f"results={tmp_path / 'beside'}"]), order)
    assert [o.state for o in outcomes] == ["finished"] * 2
    assert all_rows(tmp_path / "beside") == all_rows(tmp_path / "alone")
    for depth in (8, 14):
        mine = [event for event in order.heard if event[1] == depth]
        assert mine == [
            ("on_start", depth), ("on_epoch", depth, 1), ("on_epoch", depth, 2), ("on_end", depth, "finished", 2)
        ]  # fmt: skip


def test_each_of_several_runs_has_as_many_threads_as_are_asked_for(tmp_path):
    words = ("depth=8,14", "variant=plain", *TINY)
    for threads in ("auto", "2"):
        processes.train_in_processes(_group([*words, f"threads={threads}", f"results={tmp_path / threads}"]), Order())
        found = [json.loads(f.read_text())["threads"] for f in (tmp_path / threads).rglob("environment.json")]
        assert found == [1 if threads == "auto" else 2] * 2


def _group(words):
    return Group(make_plan(words).runs, 2, 2, 2)


def test_a_run_that_fails_in_its_process_says_why_and_the_others_go_on(tmp_path):
    words = ("depth=8,14", "variant=plain", f"results={tmp_path}", *TINY)
    plan = make_plan(words)
    plan.runs[0].directory.mkdir(parents=True)
    (plan.runs[0].directory / "checkpoint.pt").write_bytes(b"rubbish")
    failed, finished = processes.train_in_processes(Group(plan.runs, 2, 2, 2), Observer())
    assert failed.state == "failed"
    assert "is not a checkpoint of this program" in failed.message
    assert finished.state == "finished"


def test_only_so_many_processes_work_at_once():
    messages = [*processes.call_in_processes(_sleep, [()] * 3, 2)]
    starts, ends = zip(*(message for _, message in messages if isinstance(message, tuple)), strict=True)
    assert sorted(starts)[1] < min(ends)
    assert sorted(starts)[2] >= min(ends)
    assert [message.how for _, message in messages if isinstance(message, processes.Ended)] == [
        "ended with exit code 0"
    ] * 3


def test_a_process_has_one_thread_and_leaves_ctrl_c_to_the_program():
    (_, found), _ = processes.call_in_processes(_threads_and_handler, [()], 1)
    assert found == (1, signal.SIG_IGN)


@linux
def test_processes_that_are_not_needed_any_more_are_terminated_and_may_clean_up(tmp_path):
    messages = processes.call_in_processes(_clean_up, [(tmp_path / "cleaned",)], 1)
    _, number = next(messages)
    messages.close()
    assert (tmp_path / "cleaned").exists()
    assert not is_running(number)


def _sleep(connection):
    start = time.time()
    time.sleep(2)
    connection.send((start, time.time()))


def _threads_and_handler(connection):
    connection.send((torch.get_num_threads(), signal.getsignal(signal.SIGINT)))


def _clean_up(path, connection):
    try:
        connection.send(os.getpid())
        time.sleep(60)
    finally:
        path.touch()
