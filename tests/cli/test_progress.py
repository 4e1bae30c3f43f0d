"""How a sweep is seen while it runs, in a terminal and in a pipe."""

import re

import pytest
from support.commands import in_a_terminal
from support.platforms import linux
from support.runs import RECORD

from resdepth.cli.progress import PlainProgress
from resdepth.results.outcome import Outcome
from resdepth.sweep.plan import make_plan


@linux
@pytest.mark.slow
def test_a_narrow_terminal_shows_the_same_in_one_line(tmp_path):
    screen = in_a_terminal("train", "depth=8", "recipe.epochs=12", "device=cpu", cwd=tmp_path, columns=80)
    assert re.search(r"run 1 of 1 residual-8-s0, ep \d+/12 err [\d.]+ % [\d,]+ images/s +\d+ s left", screen)


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
