"""This machine: the cores that the container and the user allow."""

import pytest

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
