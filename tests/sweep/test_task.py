"""What a job of a launcher does, wherever it is: it trains what has no result, and heeds the scheduler's signals."""

import signal
import sys
import time
from types import SimpleNamespace

import pytest
import torch
from support.commands import environment
from support.platforms import posix
from support.processes import wait_for_rows
from support.runs import TINY

from resdepth.data import sources
from resdepth.results.files.lock import locked
from resdepth.results.run_directory import RunState, read_state
from resdepth.sweep.jobs import task
from resdepth.sweep.jobs.launch_folder import write_jobs
from resdepth.sweep.jobs.task import train_job
from resdepth.sweep.plan import make_plan

pytestmark = [posix, pytest.mark.usefixtures("elsewhere")]

WORDS = ("depth=8", "seed=0,1", "variant=plain", *TINY)


def test_a_job_that_is_requeued_leaves_finished_runs_alone(capsys):
    runs = make_plan(WORDS).runs
    assert {o.state for o in train_job(runs[:1]).values()} == {"finished"}
    before = (runs[0].directory / "metrics.csv").stat().st_mtime_ns
    assert list(train_job(runs)) == [runs[1].directory]
    assert (runs[0].directory / "metrics.csv").stat().st_mtime_ns == before
    assert {read_state(run.directory, run.config) for run in runs} == {RunState.FINISHED}
    assert capsys.readouterr().out == ""


def test_a_run_that_cannot_be_trained_here_does_not_stop_the_others():
    good, bad = (
        make_plan(WORDS).runs[0],
        make_plan(["depth=8", "variant=residual", *TINY[:2], "device=cuda:99"]).runs[0],
    )
    outcomes = train_job([bad, good])
    assert outcomes[good.directory].state == "finished"
    assert outcomes[bad.directory].message.startswith("device=cuda:99: torch finds no such CUDA device here")
    assert read_state(bad.directory, bad.config) is RunState.FAILED


def test_a_run_that_another_job_trains_is_left_to_it():
    (run,) = make_plan(WORDS[:1] + WORDS[2:]).runs
    run.directory.mkdir(parents=True)
    with locked(run.directory):
        (outcome,) = train_job([run]).values()
    assert outcome.message.endswith("is being trained by another process; wait for it, or choose another name=")
    assert not (run.directory / "outcome.json").exists()


def test_a_requeued_job_waits_for_the_locks_of_its_failed_node(monkeypatch):
    (run,) = make_plan(WORDS[:1] + WORDS[2:]).runs
    run.directory.mkdir(parents=True)
    lock = locked(run.directory)
    lock.__enter__()
    waited = []
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    # The file server notices meanwhile.
    release = lambda _: (waited.append(1), lock.__exit__(None, None, None))  # noqa: E731
    clock = SimpleNamespace(monotonic=time.monotonic, sleep=release)
    monkeypatch.setattr(task, "time", clock)
    assert {o.state for o in train_job([run]).values()} == {"finished"}
    assert waited == [1]


def test_no_job_downloads_data(monkeypatch):
    """The command that submits the jobs has downloaded them; a hundred jobs would do so at once."""
    seen = []
    original = sources.load
    monkeypatch.setattr(sources, "load", lambda config: (seen.append(config.download), original(config))[1])
    train_job(make_plan(["depth=8", "variant=plain", "data.limit=96", "recipe.epochs=1", "device=cpu"]).runs)
    assert seen
    assert not any(seen)


def test_several_runs_of_a_job_train_at_once_on_its_cores(monkeypatch):
    monkeypatch.setattr("resdepth.sweep.groups.cores", lambda: 2)
    assert {o.state for o in train_job(make_plan(WORDS).runs).values()} == {"finished"}


def test_a_gpu_that_torch_cannot_use_is_not_replaced_by_the_cpu(monkeypatch):
    monkeypatch.setenv("SLURM_GPUS_ON_NODE", "1")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    (run,) = make_plan(["depth=8", "variant=plain", *TINY[:2]]).runs
    (outcome,) = train_job([run]).values()
    assert outcome.message.startswith("device=auto: torch cannot use the GPU of this job on ")


def test_what_goes_wrong_with_a_job_is_the_last_line_of_its_output(monkeypatch, tmp_path):
    """Hydra would keep the exception, and submitit call the job completed."""
    monkeypatch.setattr(task, "_IN_SLURM", True)
    monkeypatch.setattr(task, "_heed_slurm", lambda: None)
    with pytest.raises(SystemExit, match=r"FileNotFoundError: .*jobs\.pkl"):
        task.Task(tmp_path, tmp_path, ())(SimpleNamespace(job=0))


_JOB = """
import os, signal, sys
from pathlib import Path
from resdepth.sweep.jobs.task import Task

def submitit(number, frame):
    # As submitit: it raises where the job may not be requeued.
    raise RuntimeError("Job not requeued because: timed-out too many times.")

signal.signal(signal.SIGUSR2, submitit)
class Config: job = 0
Task(Path(sys.argv[1]), Path.cwd(), ())(Config)
"""


@pytest.mark.slow
@pytest.mark.parametrize("words", [("variant=plain",), ("variant=plain,residual", "runs_per_job=2")])
@pytest.mark.parametrize("number", [signal.SIGUSR2, signal.SIGTERM])
def test_a_scheduler_that_ends_a_job_costs_no_whole_epoch(number, words, tmp_path):
    """SIGUSR2 before the time limit, SIGTERM at a preemption; the runs are neither failed nor finished."""
    plan = make_plan(["depth=8", *words, "recipe.epochs=300", "checkpoint_seconds=1000", "device=cpu", "threads=1"])
    write_jobs(tmp_path, [plan.runs])
    process = start_job(tmp_path)
    wait_for_rows(tmp_path, process)
    time.sleep(0.5)
    process.send_signal(number)
    _, err = process.communicate(timeout=20)
    assert process.returncode == (1 if number == signal.SIGUSR2 else 143)
    assert ("timed-out too many times" in err) == (number == signal.SIGUSR2)
    rows = {run.directory: (run.directory / "metrics.csv").read_text().splitlines()[1:] for run in plan.runs}
    assert all(0 < len(lines) < 300 for lines in rows.values())
    for run in plan.runs:
        assert read_state(run.directory, run.config) is RunState.CONTINUED
        saved = torch.load(run.directory / "checkpoint.pt", weights_only=True)["state"]
        assert saved["epoch"] == len(rows[run.directory])


def start_job(folder):
    import subprocess

    variables = environment(SLURM_JOB_ID="1", OMP_NUM_THREADS="2")
    return subprocess.Popen(
        [sys.executable, "-c", _JOB, str(folder)], cwd=folder, env=variables, stderr=subprocess.PIPE, text=True
    )


def test_a_job_uses_the_threads_that_slurm_allots(monkeypatch):
    threads = torch.get_num_threads()
    handler = signal.getsignal(signal.SIGTERM)
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "1")
    monkeypatch.delenv("OMP_NUM_THREADS")
    try:
        torch.set_num_threads(2)
        task._heed_slurm()
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(threads)
        signal.signal(signal.SIGTERM, handler)
