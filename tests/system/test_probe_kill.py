"""Probes that are killed or stopped and started again: the CSV file is that of an uninterrupted one."""

import random
import signal
import subprocess
import time

import pytest
from support.commands import forked_command
from support.platforms import linux, posix
from support.processes import children_of, is_running, start

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("exclusive")]
WORDS = ("probe", "gradients", "depth=8,14,20,26", "seed=0,1,2", "data.limit=400", "device=cpu", "--quiet")
CSV = "results/digits/probes/gradients/gradients.csv"


@posix
def test_a_probe_killed_at_random_moments_ends_with_the_file_of_an_uninterrupted_one(tmp_path):
    chance = random.Random(0)
    (tmp_path / "killed").mkdir()
    for _ in range(3):
        process = start(*WORDS, cwd=tmp_path / "killed", cores=chance.choice([1, 2]))
        try:
            process.communicate(timeout=chance.uniform(3, 6))
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
    for folder in ("killed", "whole"):
        (tmp_path / folder).mkdir(exist_ok=True)
        done = forked_command(*WORDS, cwd=tmp_path / folder)
        assert (done.returncode, done.stderr) == (0, "")
    names = sorted(path.name for path in (tmp_path / "killed" / CSV).parent.iterdir())
    assert names == sorted(path.name for path in (tmp_path / "whole" / CSV).parent.iterdir())
    assert (tmp_path / "killed" / CSV).read_bytes() == (tmp_path / "whole" / CSV).read_bytes()


@linux
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_probe_leaves_no_process_and_prints_the_command_that_continues(number, code, tmp_path):
    words = ("probe", "learn-identity", "depth=110", "model=dense", "recipe.epochs=500", "--quiet")
    process = start(*words, cwd=tmp_path, cores=2)
    end = time.monotonic() + 60
    while not (below := {q for p in children_of(process.pid) for q in children_of(p)}):
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.05)
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    assert process.returncode == code
    assert err == f"resdepth: stopped; to continue: resdepth {' '.join(words)}\n"
    assert all_ended(below)


@linux
def test_the_processes_of_a_killed_probe_end_too(tmp_path):
    words = ("probe", "learn-identity", "depth=110", "model=dense", "recipe.epochs=500", "--quiet")
    process = start(*words, cwd=tmp_path, cores=2)
    end = time.monotonic() + 60
    while not (below := {q for p in children_of(process.pid) for q in children_of(p)}):
        assert time.monotonic() < end
        time.sleep(0.05)
    process.kill()
    process.wait(timeout=10)
    assert all_ended(below)


def all_ended(numbers, seconds=10):
    end = time.monotonic() + seconds
    while any(map(is_running, numbers)):
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True
