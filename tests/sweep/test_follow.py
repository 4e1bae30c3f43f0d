"""Runs that other processes train, followed by their files."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
from support.runs import RECORD, TINY, Order

from resdepth.results.files.lock import locked
from resdepth.results.metrics import write_rows
from resdepth.results.outcome import Outcome, write_outcome
from resdepth.sweep.jobs import follow
from resdepth.sweep.jobs.follow import Follower, following
from resdepth.sweep.plan import make_plan

pytestmark = pytest.mark.usefixtures("elsewhere")


@pytest.fixture
def run():
    (run,) = make_plan(["depth=8", "variant=plain", *TINY]).runs
    run.directory.mkdir(parents=True)
    return run


def rows(count):
    return [replace(RECORD, epoch=epoch, train_error=60.0 - epoch) for epoch in range(1, count + 1)]


def test_what_is_written_is_told_once(run):
    told = Order()
    follower = Follower([run], told)
    follower.look(at_once=True)
    assert told.heard == []
    with locked(run.directory):
        follower.look(at_once=True)
    assert told.heard == [("on_start", 8)]
    write_rows(run.directory / "metrics.csv", rows(1))
    follower.look(at_once=True)
    follower.look(at_once=True)
    assert told.heard[1:] == [("on_epoch", 8, 1)]
    write_rows(run.directory / "metrics.csv", rows(2))
    write_outcome(run.directory, Outcome("finished", 1.0))
    follower.look(at_once=True)
    assert told.heard[2:] == [("on_epoch", 8, 2), ("on_end", 8, "finished", 2)]
    assert follower.active == ()
    assert follower.outcomes == {run.directory: Outcome("finished", 1.0)}


def test_the_rows_of_an_earlier_sweep_are_not_news(run):
    write_rows(run.directory / "metrics.csv", rows(1))
    told = Order()
    follower = Follower([run], told)
    follower.look(at_once=True)
    assert told.heard == []
    write_rows(run.directory / "metrics.csv", rows(2))
    follower.look(at_once=True)
    assert told.heard == [("on_start", 8), ("on_epoch", 8, 2)]


def test_a_file_that_is_being_written_is_looked_at_again(run):
    told = Order()
    follower = Follower([run], told)
    (run.directory / "metrics.csv").write_text("half a hea")
    (run.directory / "outcome.json").write_text('{"state": "fin')
    follower.look(at_once=True)
    assert follower.active == (run,)
    write_rows(run.directory / "metrics.csv", rows(2))
    write_outcome(run.directory, Outcome("diverged", 1.0))
    follower.look(at_once=True)
    assert told.heard[-1] == ("on_end", 8, "diverged", 2)


def test_only_the_runs_asked_for_are_looked_at(run):
    follower = Follower([run], Order())
    write_outcome(run.directory, Outcome("finished", 1.0))
    follower.look(set(), at_once=True)
    assert follower.active == (run,)
    follower.look({run.directory}, at_once=True)
    assert follower.active == ()


def test_looking_takes_a_small_part_of_the_time(run, monkeypatch):
    """At most a twentieth, however long the file server takes to answer."""
    now = 0.0
    monkeypatch.setattr(follow.time, "monotonic", lambda: now)
    follower, looks = Follower([run], Order()), []

    def slow(_):
        nonlocal now
        looks.append(now)
        now += 3.0

    follower._look_at = slow
    while now < 1000:
        follower.look()
        now += 0.1
    assert math.isclose(looks[1] - looks[0], 63.0, abs_tol=0.3)


def test_a_thread_follows_until_the_end(run):
    told = Order()
    with following([run], told) as follower:
        write_rows(run.directory / "metrics.csv", rows(1))
        write_outcome(run.directory, Outcome("finished", 1.0))
    assert told.heard == [("on_start", 8), ("on_epoch", 8, 1), ("on_end", 8, "finished", 1)]
    assert list(follower.outcomes) == [Path(run.directory)]
