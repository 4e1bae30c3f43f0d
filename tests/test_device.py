"""Devices: what is set before CUDA starts."""

import os
import subprocess
import sys

import pytest
import torch
from support.commands import ROOT

from resdepth import device

NAMES = ("CUDA_DEVICE_MAX_CONNECTIONS", "CUBLAS_WORKSPACE_CONFIG")
CODE = f"import os, torch, resdepth.device; print(*map(os.environ.get, {NAMES}), torch.cuda.is_initialized())"


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "32 :4096:8 False"),
        ({"CUDA_DEVICE_MAX_CONNECTIONS": "4", "CUBLAS_WORKSPACE_CONFIG": ":16:8"}, "4 :16:8 False"),
    ],
)
def test_what_cuda_reads_when_it_starts_is_set_before_unless_the_user_has(given, expected):
    environment = {key: value for key, value in os.environ.items() if key not in NAMES} | given
    words = [sys.executable, "-c", CODE]
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.stdout.strip() == expected, done.stderr


def in_process(code):
    """What this code prints in a process that may use every core, though pytest's may not."""
    environment = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}
    code = f"import os, torch\nfrom resdepth import device\nallowed = os.sched_getaffinity(0)\n{code}"
    words = [sys.executable, "-c", code]
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr
    return done.stdout.split()


TWO_CORES = pytest.mark.skipif(
    not hasattr(os, "sched_getaffinity") or not 2 <= len(os.sched_getaffinity(0)) <= 8, reason="needs 2 to 8 cores"
)
CORES_OF_THREADS = """
def found():
    cores = []
    def body(number):
        cores.append(os.sched_getaffinity(0))
        return cores[-1]
    device._openmp_team()(len(allowed), body)
    return sorted(map(sorted, cores))
"""


@TWO_CORES
def test_threads_that_take_every_core_are_pinned_to_one_each_and_freed_in_the_end():
    code = """
with device.threads(len(allowed), pinned=True):
    print(found() == [[core] for core in sorted(allowed)])
print(found() == [sorted(allowed)] * len(allowed))
"""
    assert in_process(CORES_OF_THREADS + code) == ["True", "True"]


@TWO_CORES
def test_threads_can_be_pinned_where_they_take_every_core():
    code = "print(*map(device.can_pin, (None, len(allowed), 1, len(allowed) + 1)))"
    assert in_process(code) == ["True", "True", "False", "False"]


@TWO_CORES
@pytest.mark.parametrize(
    ("arguments", "threads"),
    [
        ("1, pinned=True", "1"),
        ("len(allowed), pinned=False", "len(allowed)"),
        ("len(allowed) + 1, pinned=True", "len(allowed) + 1"),
    ],
)
def test_threads_are_not_pinned_where_a_core_is_free_or_they_share_one_or_are_told_not_to(arguments, threads):
    code = f"""
with device.threads({arguments}):
    print(torch.get_num_threads() == {threads}, os.sched_getaffinity(0) == allowed)
"""
    assert in_process(code) == ["True", "True"]


def test_without_gccs_openmp_threads_are_set_and_not_pinned(monkeypatch):
    monkeypatch.setattr(device, "_openmp_team", lambda: None)
    before = torch.get_num_threads()
    with device.threads(2, pinned=True):
        assert torch.get_num_threads() == 2
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(("count", "is_pinned"), [(8, True), (16, False)])
def test_of_many_threads_none_is_pinned(count, is_pinned, monkeypatch):
    """oneDNN starts new threads at every step then, which would share the first one's core."""
    confined = []
    monkeypatch.setattr(device, "_allowed_cores", lambda: list(range(count)))
    monkeypatch.setattr(device, "_openmp_team", lambda: lambda used, cores_of: confined.append((used, cores_of(3))))
    with device.threads(count, pinned=True):
        assert confined == [(count, {3})] * is_pinned
    assert confined[1:] == [(count, set(range(count)))] * is_pinned


def test_gccs_openmp_is_found_in_a_folder_with_a_space(monkeypatch):
    line = "7f00-7f01 r-xp 00000000 08:01 1234     /a folder/libgomp-1.so.1"
    opened = []
    monkeypatch.setattr(device.Path, "read_text", lambda *_, **__: f"7f00-7f01 rw-p 00000000 00:00 0\n{line}\n")
    monkeypatch.setattr(device.ctypes, "CDLL", opened.append)
    device._openmp_team()
    assert opened == ["/a folder/libgomp-1.so.1"]


@TWO_CORES
def test_a_thread_that_a_pinned_one_starts_may_be_given_every_core_again():
    code = """
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from resdepth.config.schema import RunConfig
from resdepth.results.checkpoint import CheckpointWriter
with device.threads(len(allowed), pinned=True):
    with ThreadPoolExecutor() as pool:
        print(len(pool.submit(os.sched_getaffinity, 0).result()) == 1)
    with CheckpointWriter(Path("checkpoint.pt"), RunConfig(), lambda: None) as checkpoints:
        print(checkpoints._thread.submit(os.sched_getaffinity, 0).result() == allowed)
"""
    assert in_process(code) == ["True", "True"]
