"""This machine: the cores that the container and the user allow."""

import os
import signal
import threading
import time

import pytest
from support.platforms import posix

from resdepth import host


@pytest.mark.parametrize(
    ("limit", "threads", "expected"),
    [
        ([], "", 8),
        (["max", "100000"], "", 8),
        (["250000", "100000"], "", 2),
        (["50000", "100000"], "", 1),
        ([], "3", 3),
    ],
)
def test_cores_are_those_the_container_and_the_user_allow(monkeypatch, limit, threads, expected):
    monkeypatch.setattr(host.os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr(host, "container_limit", lambda _: limit)
    monkeypatch.setenv("OMP_NUM_THREADS", threads)
    assert host.cores() == expected


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"SLURM_CPUS_ON_NODE": "4"}, 4),
        ({"SLURM_CPUS_ON_NODE": "4", "SLURM_CPUS_PER_TASK": "2"}, 2),
        ({"SLURM_CPUS_ON_NODE": "64"}, 8),
        ({"SLURM_CPUS_ON_NODE": "4", "OMP_NUM_THREADS": "1"}, 1),
        ({"SLURM_CPUS_ON_NODE": "x"}, 8),
    ],
)
def test_cores_are_those_that_slurm_allots(monkeypatch, variables, expected):
    monkeypatch.setattr(host.os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr(host, "container_limit", lambda _: [])
    monkeypatch.delenv("OMP_NUM_THREADS")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert host.cores() == expected


@pytest.mark.parametrize(
    ("variables", "megabytes"),
    [
        ({}, None),
        ({"SLURM_MEM_PER_NODE": "16384"}, 16384),
        ({"SLURM_MEM_PER_NODE": "0"}, None),  # all of the node's
        ({"SLURM_MEM_PER_CPU": "2000", "SLURM_CPUS_ON_NODE": "4"}, 8000),
        ({"SLURM_MEM_PER_CPU": "2000"}, 2000),
    ],
)
def test_memory_is_what_slurm_allots(monkeypatch, variables, megabytes):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert host.slurm_bytes() == (megabytes and megabytes * 2**20)


@posix
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2])
def test_a_signal_is_handled_at_the_end_of_the_block_that_defers_it(number):
    seen = []
    before = signal.signal(number, lambda *_: seen.append("handled"))
    try:
        with host.signals_deferred():
            os.kill(os.getpid(), number)
            time.sleep(0.01)
            seen.append("end of the block")
        assert seen == ["end of the block", "handled"]
        os.kill(os.getpid(), number)
        assert seen[2:] == ["handled"]
    finally:
        signal.signal(number, before)


@posix
def test_ctrl_c_is_raised_after_the_block_that_defers_it():
    done = []

    def body():
        with host.signals_deferred():
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.01)
            done.append(True)

    with pytest.raises(KeyboardInterrupt):
        body()
    assert done


def test_in_another_thread_nothing_is_deferred_and_nothing_fails():
    done = []

    def body():
        with host.signals_deferred():
            done.append(True)

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    assert done
