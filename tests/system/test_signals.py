"""Signals to a command and to the processes below it: it ends, and the same command continues."""

import os
import random
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest
import torch
from support.commands import forked_command
from support.platforms import linux, posix
from support.processes import WORDS, children, gone, start, trainers, wait_for_rows
from support.runs import all_rows

from resdepth.results import checkpoint
from resdepth.results.metrics import read_rows
from resdepth.sweep.plan import make_plan

pytestmark = [posix, pytest.mark.slow, pytest.mark.xdist_group("exclusive")]
STOPS = int(os.environ.get("RESDEPTH_KILLS", "3"))
SIGKILL = 9  # `signal` has no such name on Windows


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_sweep_within_5_seconds_with_the_command_that_continues(tmp_path, uninterrupted, number, code):
    process = start(*WORDS, cwd=tmp_path)
    wait_for_rows(tmp_path, process)
    process.send_signal(number)
    started = time.monotonic()
    _, said = process.communicate(timeout=30)
    assert time.monotonic() - started < 5
    assert process.returncode == code
    assert said == f"resdepth: stopped; to continue: resdepth {' '.join(WORDS)}\n"
    assert [path.name for path in (tmp_path / "results").iterdir()] == ["digits"]
    assert forked_command(*WORDS, "-q", cwd=tmp_path).returncode == 0
    assert all_rows(tmp_path) == uninterrupted


@linux
def test_a_killed_process_fails_its_run_alone_and_the_same_command_continues_it(tmp_path, uninterrupted):
    process = start(*WORDS, "-q", cwd=tmp_path, cores=2)
    wait_for_rows(tmp_path / "results", process)
    os.kill(min(trainers(process)), SIGKILL)
    said = process.communicate(timeout=120)[1]
    assert process.returncode == 1
    assert said.count("\n") == 1
    assert "its process was killed by signal 9; run the same command again, which continues the run" in said
    assert len(make_plan([*WORDS[1:], f"results={tmp_path / 'results'}"]).pending) == 1
    assert forked_command(*WORDS, "-q", cwd=tmp_path).returncode == 0
    assert all_rows(tmp_path / "results") == uninterrupted


@linux
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (SIGKILL, -9)])
def test_a_signal_to_the_command_ends_all_its_processes(tmp_path, number, code):
    process = start(*WORDS, cwd=tmp_path, cores=2)
    wait_for_rows(tmp_path, process)
    below = children(process)
    assert len(trainers(process)) == 2
    process.send_signal(number)
    said = process.communicate(timeout=30)[1]
    assert process.returncode == code
    assert gone(below)
    if code > 0:
        assert said == f"resdepth: stopped; to continue: resdepth {' '.join(WORDS)}\n"


@linux
def test_ctrl_c_in_a_terminal_while_torch_is_loaded_is_one_line(tmp_path):
    """A terminal sends it to every process; those that load torch must not print their tracebacks."""
    process = start(*WORDS, cwd=tmp_path, cores=2, start_new_session=True)
    end = time.monotonic() + 30
    while not any(is_fork_server(pid) for pid in children(process)):
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.01)
    time.sleep(0.2)
    below = children(process)
    os.killpg(process.pid, signal.SIGINT)
    said = process.communicate(timeout=30)[1]
    assert process.returncode == 130
    assert said == f"resdepth: stopped; to continue: resdepth {' '.join(WORDS)}\n"
    assert gone(below)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_stop_at_any_moment_costs_no_epoch_but_the_one_under_way(tmp_path, uninterrupted, number):
    """In a terminal, and with SIGHUP when it is closed, the signal reaches every process of the command."""
    chance = random.Random(number)
    stopped = 0
    while stopped < STOPS:
        process = start(*WORDS, "-q", cwd=tmp_path, cores=chance.choice([1, 2]), start_new_session=True)
        if not stopped:
            wait_for_rows(tmp_path, process)
        try:
            process.communicate(timeout=chance.uniform(0.5, 4.0))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, number)
            started = time.monotonic()
            said = process.communicate(timeout=30)[1]
            assert time.monotonic() - started < 5
            assert (process.returncode, said.count("\n")) == (128 + number, 1), said
            assert "resdepth: stopped; to continue: resdepth sweep" in said
            stopped += 1
        else:
            assert all_rows(tmp_path) == uninterrupted
            shutil.rmtree(tmp_path / "results")
        for run in make_plan([*WORDS[1:], f"results={tmp_path / 'results'}"]).pending:
            if (run.directory / "metrics.csv").exists() and (rows := read_rows(run.directory / "metrics.csv")):
                saved = checkpoint.load(run.directory / "checkpoint.pt", run.config, torch.device("cpu"))
                assert saved["epoch"] == len(rows)
    assert forked_command(*WORDS, "-q", cwd=tmp_path).returncode == 0
    assert all_rows(tmp_path) == uninterrupted


def is_fork_server(pid):
    try:
        return "forkserver" in Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return False
