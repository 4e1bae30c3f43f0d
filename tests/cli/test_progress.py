"""How a sweep is seen while it runs, in a terminal and in a pipe."""

import io
import itertools
import re
from dataclasses import replace

import pytest
from rich.console import Console
from support.commands import in_a_terminal
from support.platforms import linux
from support.runs import RECORD

from resdepth.cli import progress
from resdepth.cli.progress import LiveProgress, PlainProgress
from resdepth.results.outcome import Outcome
from resdepth.sweep.plan import make_plan


@linux
@pytest.mark.slow
def test_a_narrow_terminal_shows_the_whole_name_and_a_bar(tmp_path):
    words = ("train", "depth=8", "recipe.epochs=12", "recipe.weight_decay=0.001", "device=cpu")
    screen = in_a_terminal(*words, cwd=tmp_path, columns=80)
    # The name is folded where the line is full.
    name = r"\s*".join(map(re.escape, "residual-8-s0,recipe.weight_decay=0.001,recipe.epochs=12"))
    assert re.search(name, screen)
    assert re.search(r"━{3,}", screen)
    assert re.search(r"\d+ s left", screen)


@linux
@pytest.mark.slow
def test_a_terminal_shows_run_epoch_error_speed_and_time_left(tmp_path):
    words = ("sweep", "depth=8", "recipe.epochs=12", "device=cpu")
    screen = in_a_terminal(*words, cwd=tmp_path, columns=130)
    assert re.search(r"run 1 of 2  plain-8-s0\S*  epoch \d+ of 12, training error [\d.]+ %, [\d,]+ images/s", screen)
    assert "run 2 of 2  residual-8-s0" in screen
    assert re.search(r"sweep .*\d+ s left", screen)
    assert re.search(r"plain-8-s0,recipe.epochs=12: training error [\d.]+ %, test error [\d.]+ %, \d+ s", screen)


def test_a_pipe_gets_plain_lines(capsys):
    (run,) = make_plan(["depth=8", "variant=plain", "recipe.epochs=2"]).runs
    lines = PlainProgress(total=1)
    lines.on_start(run, epochs_done=1)
    lines.on_end(run, Outcome("diverged", 200.0), RECORD)
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].endswith("75,002 parameters, 2 epochs, continued after epoch 1")
    assert printed[1].endswith("training error 61.50 %, test error -, 3 min, diverged in epoch 1")


def test_a_pipe_hears_of_every_run_alike_and_the_seldomer_the_longer_a_sweep_takes(monkeypatch, capsys):
    now = 0.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    runs = make_plan(["depth=8,14", "variant=plain", "recipe.epochs=400"]).runs
    lines, seen = PlainProgress(total=2, _started=0.0, _printed=0.0), []
    for epoch in range(1, 400):
        for run in runs:
            now += 0.25
            lines.on_epoch(run, replace(RECORD, epoch=epoch))
            if out := capsys.readouterr().out.splitlines():
                seen.append((now, [re.search(r"(plain-\d+)\S*: epoch (\d+)/400", line).groups() for line in out]))
    assert [epochs for _, epochs in seen[:2]] == [
        [("plain-8", "4"), ("plain-14", "4")],
        [("plain-8", "8"), ("plain-14", "8")],
    ]
    assert all(len(epochs) == 2 for _, epochs in seen)
    gaps = [after - before for (before, _), (after, _) in itertools.pairwise(seen)]
    assert (gaps[0], gaps[-1]) == (2.0, 4.0)
    # A run that has ended is not heard of again.
    lines.on_end(runs[0], Outcome("finished", 1.0), RECORD)
    now += 100
    lines.on_epoch(runs[1], RECORD)
    assert capsys.readouterr().out.count("plain-8-") == 1


def test_a_continued_runs_last_record_is_no_news(monkeypatch, capsys):
    now = 0.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    (run,) = make_plan(["depth=8", "variant=plain", "recipe.epochs=3"]).runs
    lines = PlainProgress(total=1, _started=0.0, _printed=0.0)
    lines.on_start(run, epochs_done=1)
    capsys.readouterr()
    for epoch in (1, 2):
        now += 10
        lines.on_epoch(run, replace(RECORD, epoch=epoch))
    (line,) = capsys.readouterr().out.splitlines()
    assert "epoch 2/3" in line


@pytest.mark.parametrize(("words", "lines"), [((), 1), (("model.width=24", "recipe.lr=0.05"), 2)])
def test_on_a_narrow_terminal_the_state_of_a_run_is_on_one_line(words, lines, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    plan = make_plan(["depth=110", "variant=residual", *words])
    live = progress.LiveProgress(plan)
    live.on_start(plan.runs[0], epochs_done=0)
    text = live.display.tasks[-1].description.splitlines()
    assert len(text) == lines
    assert text[-1].endswith("epoch 1/20, error -")
    assert text[0].startswith(plan.runs[0].label)
    console = Console(width=80)
    with console.capture() as capture:
        console.print(live.display.get_renderable())
    assert "epoch 1/20, error -" in capture.get()


def test_of_many_runs_a_terminal_shows_those_that_fit_and_counts_the_others(monkeypatch):
    monkeypatch.setattr(progress, "Console", lambda: Console(width=100, height=20, file=io.StringIO()))
    plan = make_plan(["depth=8", "variant=plain", "seed=range(0,30,1)"])
    live = LiveProgress(plan)

    def shown():
        return sum(task.visible for task in live.display.tasks) - 1  # but for the sweep's own

    for run in plan.runs:
        live.on_start(run, 0)
    live.on_wait("30 jobs running")
    assert shown() == 8
    assert live.display.tasks[0].description == "sweep  30 jobs running  22 more runs are being trained"
    for run in plan.runs[:25]:
        live.on_end(run, Outcome("finished", 1.0), RECORD)
    assert shown() == 5
    assert live.display.tasks[0].description == "sweep  30 jobs running"


def test_of_many_runs_a_pipe_gets_their_number(monkeypatch, capsys):
    now = 0.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    runs = make_plan(["depth=8", "variant=plain", "seed=range(0,30,1)"]).runs
    lines = PlainProgress(total=30, _started=0.0, _printed=0.0)
    for run in runs:
        lines.on_epoch(run, RECORD)
    lines.on_end(runs[0], Outcome("finished", 1.0), RECORD)
    now = 3.0
    capsys.readouterr()
    lines.on_epoch(runs[1], RECORD)
    assert capsys.readouterr().out == "  29 runs are being trained, 1 of 30 have ended\n"


def test_the_jobs_of_a_cluster_are_told_when_they_change(monkeypatch, capsys):
    now = 0.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    lines = PlainProgress(total=1, _started=0.0, _printed=0.0)
    for text in ("1 job waiting", "1 job waiting", "1 job running", ""):
        now += 1
        lines.on_wait(text)
    assert capsys.readouterr().out == "1 job waiting\n1 job running\n"
