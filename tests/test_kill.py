"""Sweeps that are killed, stopped and started twice: no row is lost or doubled, and nothing is left behind."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import ROOT, TINY, command
from test_training import rows

from resdepth.results.metrics import read_rows
from resdepth.results.run_directory import locked

KILLS = int(os.environ.get("RESDEPTH_KILLS", "3"))
WORDS = ("sweep", "depth=8,14", "recipe.epochs=12", "device=cpu", "checkpoint_seconds=0")


def start(*words, cwd, cores=1):
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": str(cores)}
    return subprocess.Popen(
        [sys.executable, "-m", "resdepth", *words],
        cwd=cwd,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_rows(folder, process, seconds=60):
    """Wait until some run has a row; the first moment at which there is something to lose."""
    end = time.monotonic() + seconds
    while not any(path.read_text().count("\n") > 1 for path in folder.rglob("metrics.csv")):
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.02)


def all_rows(folder):
    return {path.parent.name: rows(read_rows(path)) for path in sorted(folder.rglob("metrics.csv"))}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("uninterrupted")
    assert command(*WORDS, "-q", cwd=folder).returncode == 0
    return all_rows(folder)


def test_a_sweep_killed_at_random_moments_ends_with_the_rows_of_an_uninterrupted_one(tmp_path, uninterrupted):
    """Each kill lands in a sweep that is not finished; one that ends before its kill is compared and begun again."""
    chance = random.Random(0)
    killed = 0
    while killed < KILLS:
        often = f"checkpoint_seconds={chance.choice([0, 0.1, 1000])}"
        # One after the other in the process that is killed, or side by side in processes below it.
        process = start(*WORDS, often, "-q", cwd=tmp_path, cores=chance.choice([1, 2]))
        if killed == 0:
            wait_for_rows(tmp_path, process)
        try:
            process.communicate(timeout=chance.uniform(1.5, 5.0))
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            killed += 1
        else:
            assert all_rows(tmp_path) == uninterrupted
            shutil.rmtree(tmp_path / "results")
    done = command(*WORDS, "-q", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert all_rows(tmp_path) == uninterrupted
    assert [path.name for path in (tmp_path / "results").iterdir()] == ["digits"]


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
    assert command(*WORDS, "-q", cwd=tmp_path).returncode == 0
    assert all_rows(tmp_path) == uninterrupted


def test_a_second_sweep_on_the_same_run_is_refused_and_a_dead_ones_lock_is_taken_over(tmp_path):
    words = ("train", "depth=8", *TINY)
    folder = tmp_path / "results" / "digits" / "residual-8-s0,data.limit=128,recipe.epochs=2"
    folder.mkdir(parents=True)
    with locked(folder):
        done = command(*words, cwd=tmp_path)
    assert done.returncode == 2
    assert "is being trained by another process; wait for it, or choose another name=" in done.stderr
    assert done.stderr.count("\n") == 1
    assert list(folder.iterdir()) == []
    (folder / ".lock").write_text("")  # as a killed process leaves it
    assert command(*words, cwd=tmp_path).returncode == 0
    assert not (folder / ".lock").exists()


def children_of(pid):
    """The processes below one, with their command lines."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == pid:
                found[int(folder.name)] = (folder / "cmdline").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def is_running(pid):
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="finds the workers in Linux' /proc")
def test_a_killed_worker_ends_the_sweep_in_one_line_and_the_same_command_finishes_it(tmp_path, uninterrupted):
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher", reason="needs pip install hydra-joblib-launcher")
    parallel = ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    process = start(*WORDS, "-q", *parallel, cwd=tmp_path)
    wait_for_rows(tmp_path, process)
    children = children_of(process.pid)
    worker = next(pid for pid, line in children.items() if "popen_loky" in line)
    os.kill(worker, signal.SIGKILL)
    _, said = process.communicate(timeout=60)
    (line,) = said.splitlines()
    assert line.startswith("resdepth: the launcher gave up (TerminatedWorkerError: A worker process")
    assert line.endswith("; say the same command again: what is finished is kept, what was broken off is continued")
    assert process.returncode == 1
    end = time.monotonic() + 10
    while any(map(is_running, children)) and time.monotonic() < end:
        time.sleep(0.1)
    assert not any(map(is_running, children))
    # Where a run is executed is no part of it; without the launcher there are no workers to be waited for.
    done = command(*WORDS, "-q", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert all_rows(tmp_path) == uninterrupted
    assert [path.name for path in (tmp_path / "results").iterdir()] == ["digits"]
