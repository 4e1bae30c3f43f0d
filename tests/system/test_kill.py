"""Sweeps that are killed and started twice: no row is lost or doubled, and nothing is left behind."""

import os
import random
import shutil
import signal
import subprocess
import time

import pytest
from support.commands import forked_command
from support.platforms import linux
from support.processes import WORDS, children_of, is_running, start, wait_for_rows
from support.runs import TINY, all_rows

from resdepth.results.files.lock import locked

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("exclusive")]
KILLS = int(os.environ.get("RESDEPTH_KILLS", "3"))


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
    done = forked_command(*WORDS, "-q", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert all_rows(tmp_path) == uninterrupted
    assert [path.name for path in (tmp_path / "results").iterdir()] == ["digits"]


def test_a_second_sweep_on_the_same_run_is_refused_and_a_dead_ones_lock_is_taken_over(tmp_path):
    words = ("train", "depth=8", *TINY)
    folder = tmp_path / "results" / "digits" / "residual-8-s0,data.limit=128,recipe.epochs=2"
    folder.mkdir(parents=True)
    with locked(folder):
        done = forked_command(*words, cwd=tmp_path)
    assert done.returncode == 2
    assert "is being trained by another process; wait for it, or choose another name=" in done.stderr
    assert done.stderr.count("\n") == 1
    assert list(folder.iterdir()) == []
    (folder / ".lock").write_text("")  # as a killed process leaves it
    assert forked_command(*words, cwd=tmp_path).returncode == 0
    assert not (folder / ".lock").exists()


@linux
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
    assert line.startswith("resdepth: the launcher failed (TerminatedWorkerError: A worker process")
    assert line.endswith("; run the same command again: finished runs are kept, interrupted ones are continued")
    assert process.returncode == 1
    end = time.monotonic() + 10
    while any(map(is_running, children)) and time.monotonic() < end:
        time.sleep(0.1)
    assert not any(map(is_running, children))
    # Where a run is executed is no part of it; without the launcher there are no workers to be waited for.
    done = forked_command(*WORDS, "-q", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert all_rows(tmp_path) == uninterrupted
    assert [path.name for path in (tmp_path / "results").iterdir()] == ["digits"]
