"""How a sweep is seen while it runs, in a terminal and in a pipe; and what is said of a long one."""

import os
import re
import subprocess
import sys

import pytest
from conftest import ROOT
from test_records import RECORD

from resdepth.cli import printing
from resdepth.cli.progress import PlainProgress
from resdepth.results.outcome import Outcome
from resdepth.sweep.plan import make_plan


def in_a_terminal(*words, cwd, columns):
    """What a terminal of so many columns is sent, with its colours and cursor movements taken out."""
    master, slave = os.openpty()
    env = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": str(columns), "LINES": "30", "TERM": "xterm-256color"}
    command = [sys.executable, "-m", "resdepth", *words]
    with subprocess.Popen(command, cwd=cwd, env=env, stdin=slave, stdout=slave, stderr=slave) as process:
        os.close(slave)
        sent = b""
        while True:
            try:
                part = os.read(master, 65536)
            except OSError:  # the other end is closed
                break
            if not part:
                break
            sent += part
    os.close(master)
    assert process.returncode == 0, sent.decode()
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", sent.decode())


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
def test_a_narrow_terminal_shows_the_same_in_one_line(tmp_path):
    screen = in_a_terminal("train", "depth=8", "recipe.epochs=12", "device=cpu", cwd=tmp_path, columns=80)
    assert re.search(r"run 1 of 1 residual-8-s0, ep \d+/12 err [\d.]+ % [\d,]+ images/s +\d+ s left", screen)


@pytest.mark.skipif(sys.platform == "win32", reason="needs a pseudo-terminal")
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


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(5, "5 s"), (89, "89 s"), (90, "2 min"), (3600, "60 min"), (19_200, "5 h 20 min"), (260_000, "3 days")],
)
def test_durations_are_said_in_words(seconds, words):
    assert printing.duration(seconds) == words


def test_a_sweep_of_hours_says_what_would_be_quicker(capsys):
    printing.print_estimate(50.0, "this machine", on_gpu=False)
    assert "Quicker" not in capsys.readouterr().out
    printing.print_estimate(20_000.0, "a GPU", on_gpu=True)
    assert "device=cuda" not in capsys.readouterr().out
    printing.print_estimate(20_000.0, "this machine", on_gpu=False)
    said = capsys.readouterr().out
    assert "About 5 h 33 min on this machine." in said
    assert all(part in said for part in ("device=cuda", "recipe.epochs=N", "data.limit=N", "data=digits"))
