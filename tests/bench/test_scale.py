"""What a sweep of many runs costs besides training."""

import math
import shutil

import pandas as pd
import pytest
from support.platforms import linux

from resdepth.bench import scale
from resdepth.bench.benchmark import bench_runs
from resdepth.bench.findings import scale_line
from resdepth.bench.rows import ScaleCost
from resdepth.errors import RunError


@linux
@pytest.mark.slow
def test_every_command_of_a_sweep_is_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(scale.shutil, "which", lambda _: None)  # strace doubles the time
    said = []
    folder = bench_runs(40, tmp_path / "b", said.append)
    table = pd.read_csv(folder / "scale.csv").set_index("step")
    assert list(table.index) == ["plan", "submit", "runs without training", "watch", "continue", "summary", "plot"]
    assert table.jobs.to_dict() == {**dict.fromkeys(table.index, 0), "submit": 2, "runs without training": 2}
    # Four files of a run; besides those, what the submission leaves until its jobs have ended.
    files = table.files
    assert (files["plan"], files["watch"], files["continue"]) == (0, 4 * 40, 4 * 40)
    assert files["runs without training"] - files["submit"] == 4 * 40
    assert (table.seconds > 0.5).all()
    assert (table.memory_mib > 50).all()
    assert table.operations.isna().all()
    assert table.command["submit"].startswith("resdepth sweep depth=8 variant=plain seed=range(40)")
    assert str(tmp_path) not in (folder / "scale.csv").read_text()
    assert len(said) == 7
    assert (folder / "environment.json").exists()


@linux
@pytest.mark.slow
@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
def test_calls_to_the_file_system_are_counted(tmp_path):
    (name, _, cost), *_ = scale._Commands(tmp_path, 10, is_traced=True).measure()
    assert name == "plan"
    assert 3 * 10 <= cost.operations <= 6 * 10


@linux
def test_a_command_that_fails_is_told(tmp_path):
    with pytest.raises(RunError, match="No such option: --nothing"):
        scale._Commands(tmp_path, 10, is_traced=False)._call(["-m", "resdepth", "sweep", "--nothing"])


@pytest.mark.parametrize(
    ("jobs", "operations", "end"),
    [
        (0, math.nan, "12 files"),
        (1, math.nan, "12 files, 1 job in the queue"),
        (1313, 4.04, "12 files, 1,313 jobs in the queue, 4.0 calls a run to the file system"),
    ],
)
def test_a_line(jobs, operations, end):
    cost = ScaleCost("a CPU", 10_000, "submit", "resdepth sweep", jobs, 12.34, 801.5, 12, operations)
    assert scale_line(cost) == f"10,000 runs, submit: 12.3 s, 802 MiB, {end}"
