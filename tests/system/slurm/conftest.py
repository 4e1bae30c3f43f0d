"""A Slurm for the tests of one module, and what its sweeps are compared with."""

import os
import shutil
from dataclasses import dataclass

import pytest
from support.commands import command
from support.runs import all_rows
from support.slurm import Cluster

REASON = "needs a Slurm of its own; run `make test-slurm`"


def pytest_collection_modifyitems(items):
    for item in items:
        if "slurm" in item.keywords:
            item.add_marker(pytest.mark.skipif("RESDEPTH_SLURM" not in os.environ, reason=REASON))


@dataclass
class Tally:
    """What the tests did to the runs."""

    submitted: int = 0
    killed: int = 0
    requeued: int = 0
    lost: int = 0


@pytest.fixture(scope="session")
def tally():
    return Tally()


def _started(*, accounts):
    missing = [name for name in ("slurmctld", "munged", "slurmdbd", "mariadbd") if shutil.which(name) is None]
    assert not missing, f"not installed: {missing}"
    with Cluster(accounts=accounts) as cluster, pytest.MonkeyPatch.context() as patch:
        for name, value in cluster.variables.items():
            patch.setenv(name, value)
        yield cluster


@pytest.fixture(scope="session")
def cluster():
    """A cluster of two nodes; every test runs on it, one after the other."""
    yield from _started(accounts=False)


@pytest.fixture
def cluster_with_accounts():
    """Another one, which also keeps accounts of its jobs."""
    yield from _started(accounts=True)


@pytest.fixture(scope="session")
def local(tmp_path_factory):
    """The rows of a sweep on this machine, without Slurm, by its words; each sweep is trained once."""
    known = {}

    def rows(*words):
        if words not in known:
            folder = tmp_path_factory.mktemp("local")
            done = command("sweep", *words, "device=cpu", "threads=1", "-q", cwd=folder)
            assert done.returncode == 0, done.stderr
            known[words] = all_rows(folder)
        return known[words]

    return rows
