"""A sweep on a Ray cluster of two nodes on this machine. `make test-ray` installs Ray and runs these tests."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.commands import command
from support.processes import children, start, wait_for_rows
from support.runs import all_rows

REASON = "needs Ray; run `make test-ray`"
pytestmark = [pytest.mark.slow, pytest.mark.skipif("RESDEPTH_RAY" not in os.environ, reason=REASON)]

EIGHT = ("depth=8,14", "seed=0,1", "recipe.epochs=2")
LONG = ("depth=8", "recipe.epochs=40")
_NODES = """
import sys
from ray.cluster_utils import Cluster

size = {"num_cpus": 1, "object_store_memory": 100 * 2**20}
cluster = Cluster(initialize_head=True, head_node_args={**size, "include_dashboard": False})
second = cluster.add_node(**size)
print(cluster.address, flush=True)
for line in sys.stdin:
    cluster.remove_node(second, allow_graceful=False)
    print("removed", flush=True)
cluster.shutdown()
"""


@pytest.fixture
def cluster():
    """Two nodes of one core each: their address, and what removes the second one."""
    nodes = subprocess.Popen(
        [sys.executable, "-c", _NODES], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        text=True,
    )  # fmt: skip
    address = next(line.strip() for line in nodes.stdout if re.fullmatch(r"[\d.]+:\d+\n", line))

    def remove():
        nodes.stdin.write("remove\n")
        nodes.stdin.flush()
        assert "removed\n" in nodes.stdout

    yield nodes, address, remove
    nodes.stdin.close()
    nodes.wait(30)


def words(address):
    where = ("hydra/launcher=ray_cluster", f'hydra.launcher.ray.init.address="{address}"')
    return ("device=cpu", "threads=1", "hydra.launcher.ray.remote.num_gpus=0", *where)


def local(folder, *given):
    done = command("sweep", *given, "device=cpu", "threads=1", "-q", cwd=folder)
    assert done.returncode == 0, done.stderr
    return all_rows(folder)


def finish(process):
    out, err = process.communicate(timeout=240)
    assert process.returncode == 0, out + err
    return out


def test_eight_runs_over_two_nodes_equal_the_local_sweep(cluster, tmp_path):
    _, address, _ = cluster
    (tmp_path / "here").mkdir()
    out = finish(start("sweep", *EIGHT, *words(address), cwd=tmp_path))
    assert out.count(" s\n") >= 8  # a line for each run that has ended
    assert all_rows(tmp_path / "results") == local(tmp_path / "here", *EIGHT)
    assert [path.name for path in (tmp_path / "results").iterdir()] == ["digits"]


@pytest.mark.parametrize("what", ["worker", "node"])
def test_a_run_whose_worker_or_node_is_killed_continues(what, cluster, tmp_path):
    nodes, address, remove = cluster
    (tmp_path / "here").mkdir()
    process = start("sweep", *LONG, *words(address), cwd=tmp_path)
    wait_for_rows(tmp_path, process)
    time.sleep(1)
    if what == "node":
        remove()
    else:
        os.kill(next(pid for pid in children(nodes) if _is_working(pid)), signal.SIGKILL)
    finish(process)
    assert all_rows(tmp_path / "results") == local(tmp_path / "here", *LONG)


def _is_working(pid):
    return Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"ray::_run_job")
