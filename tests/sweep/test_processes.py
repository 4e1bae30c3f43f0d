"""Runs in processes of their own: the same rows as alone, and a failure is reported."""

from support.runs import TINY, Order, all_rows, train_here

from resdepth.sweep import processes
from resdepth.sweep.observer import Observer
from resdepth.sweep.plan import make_plan


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


def test_a_run_that_fails_in_its_process_says_why_and_the_others_go_on(tmp_path):
    words = ("depth=8,14", "variant=plain", f"results={tmp_path}", *TINY)
    plan = make_plan(words)
    plan.runs[0].directory.mkdir(parents=True)
    (plan.runs[0].directory / "checkpoint.pt").write_bytes(b"rubbish")
    failed, finished = processes.train_in_processes(plan.runs, 2, Observer())
    assert failed.state == "failed"
    assert "is not a checkpoint of this program" in failed.message
    assert finished.state == "finished"
