"""A sweep on a real Slurm of two nodes: the same rows as on one machine, whatever becomes of jobs, nodes and commands.

`make test-slurm` installs Slurm, starts it, runs these tests and stops it.
"""

import re
import signal
import time

import pytest
from support.commands import command
from support.processes import gone, start, wait_for_rows
from support.runs import all_rows

pytestmark = [pytest.mark.slurm, pytest.mark.slow]

ON_SLURM = (
    *("device=cpu", "threads=1", "hydra/launcher=slurm"),
    *("hydra.launcher.gpus_per_node=null", "hydra.launcher.cpus_per_task=1"),
)
EIGHT = ("depth=8,14", "seed=0,1", "recipe.epochs=2")
# Two runs long enough for something to happen to them.
LONG = ("depth=8", "recipe.epochs=40")
FEW = ("depth=8", "recipe.epochs=2")
ONE_EACH = "runs_per_job=1"


def sweep(*words, cwd):
    return start("sweep", *ON_SLURM, *words, cwd=cwd)


def finish(process, code=0, seconds=240):
    """Wait for a command, and return what it said."""
    out, err = process.communicate(timeout=seconds)
    assert process.returncode == code, out + err
    return out, err


def seconds_of(folder):
    """How long each epoch took, by run: of an epoch that was not computed again, the same as before."""
    return {
        path.parent.name: [line.rpartition(",")[2] for line in path.read_text().splitlines()[1:]]
        for path in folder.rglob("metrics.csv")
    }


def kept(before, folder):
    """Of the rows that there were, how many are the same still."""
    after = seconds_of(folder)
    return sum(a == b for name, rows in before.items() for a, b in zip(rows, after[name], strict=False))


def compare(folder, expected, tally):
    """Check that the rows are those of the sweep on this machine, and count those that are missing."""
    there = all_rows(folder)
    tally.lost += sum(row not in there.get(name, []) for name, rows in expected.items() for row in rows)
    assert there == expected


def files(folder):
    return sorted(path.name for path in (folder / "results").iterdir())


def wait_until(condition, seconds=90):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


def wait_for_both(folder, process):
    """Wait until each of two runs has some rows."""
    wait_for_rows(folder, process)
    wait_until(lambda: len(found := seconds_of(folder)) == 2 and all(len(rows) > 5 for rows in found.values()))


def test_eight_runs_over_two_nodes_equal_the_local_sweep(cluster, local, tmp_path, tally):
    process = sweep(*EIGHT, ONE_EACH, cwd=tmp_path)
    nodes = set()
    while process.poll() is None:
        nodes |= set(cluster.ask("squeue", "--noheader", "--states=running", "--format=%N").split())
        time.sleep(0.2)
    out, err = finish(process)
    assert err == ""
    assert "8 jobs submitted to Slurm, as " in out
    assert out.count(" s\n") >= 8  # a line for each run that has ended
    assert nodes == {"n1", "n2"}
    compare(tmp_path, local(*EIGHT), tally)
    assert files(tmp_path) == ["digits"]
    assert cluster.jobs() == {}
    tally.submitted += 8


def test_short_runs_share_a_job(cluster, local, tmp_path, tally):
    out, _ = finish(sweep(*EIGHT, cwd=tmp_path))
    assert "1 job submitted to Slurm, as " in out
    compare(tmp_path, local(*EIGHT), tally)
    tally.submitted += 8


def test_a_finished_sweep_submits_nothing(cluster, tmp_path, tally):
    finish(sweep(*FEW, cwd=tmp_path))
    out, _ = finish(sweep(*FEW, cwd=tmp_path))
    assert "2 finished before and skipped" in out
    assert "submitted" not in out
    tally.submitted += 2


@pytest.mark.parametrize("kind", ["cluster", "cluster_with_accounts"])
def test_a_killed_job_ends_the_wait_and_the_same_command_continues_it(kind, request, local, tmp_path, tally):
    cluster = request.getfixturevalue(kind)
    process = sweep(*LONG, ONE_EACH, cwd=tmp_path)
    wait_for_both(tmp_path, process)
    (job, *_) = sorted(cluster.jobs())
    cluster.ask("scancel", "--signal=KILL", job)
    out, err = finish(process, code=1)
    assert f"its Slurm job {job} ended without a result (" in err
    assert "run the same command again, which continues the run" in err
    assert err.count("\n") == 1
    assert out.count("finished") == 1  # the other run
    before = seconds_of(tmp_path)
    out, _ = finish(sweep(*LONG, ONE_EACH, cwd=tmp_path))
    assert "1 finished before and skipped, 1 to be continued" in out
    compare(tmp_path, local(*LONG), tally)
    assert kept(before, tmp_path) > 40
    assert files(tmp_path) == ["digits"]
    tally.submitted, tally.killed = tally.submitted + 3, tally.killed + 1


def test_a_cancelled_job_leaves_a_checkpoint_of_its_last_epoch(cluster, local, tmp_path, tally):
    process = sweep(*LONG, ONE_EACH, "checkpoint_seconds=1000", cwd=tmp_path)
    wait_for_both(tmp_path, process)
    cluster.ask("scancel", *cluster.jobs())
    _, err = finish(process, code=1)
    assert err.count("ended without a result (CANCELLED)") == 2
    before = seconds_of(tmp_path)
    finish(sweep(*LONG, ONE_EACH, cwd=tmp_path))
    assert kept(before, tmp_path) == sum(map(len, before.values()))
    compare(tmp_path, local(*LONG), tally)
    tally.submitted, tally.killed = tally.submitted + 4, tally.killed + 2


def test_the_run_of_a_failed_node_is_requeued_and_continues(cluster, local, tmp_path, tally):
    process = sweep(*LONG, ONE_EACH, cwd=tmp_path)
    wait_for_both(tmp_path, process)
    before = seconds_of(tmp_path)
    cluster.kill("n2")
    finish(process)
    restarts = re.findall(r"Restarts=(\d)", cluster.ask("scontrol", "show", "job"))
    cluster.start_node("n2")
    assert restarts.count("1") == 1
    compare(tmp_path, local(*LONG), tally)
    # One run was not touched; the other lost what its checkpoint did not hold yet.
    assert kept(before, tmp_path) >= sum(map(len, before.values())) - 5
    assert files(tmp_path) == ["digits"]
    wait_until(lambda: cluster.ask("sinfo", "--noheader", "--format=%T").strip() == "idle")
    tally.submitted, tally.killed, tally.requeued = tally.submitted + 2, tally.killed + 1, tally.requeued + 1


def test_at_its_time_limit_a_job_is_requeued_and_continues(cluster, local, tmp_path, tally):
    words = ("depth=8", "variant=plain", "recipe.epochs=400")
    # Slurm looks at the limits every 30 seconds: the signal comes 20 to 50 seconds after the start, between the rows.
    process = sweep(*words, "hydra.launcher.timeout_min=1", "hydra.launcher.signal_delay_s=40", cwd=tmp_path)
    expected = local(*words)  # on the other core
    wait_until(lambda: "PENDING" in cluster.jobs().values() or process.poll() is not None)
    before = seconds_of(tmp_path)
    assert 0 < len(next(iter(before.values()))) < 400
    finish(process)
    restarts = max(map(int, re.findall(r"Restarts=(\d+)", cluster.ask("scontrol", "show", "job"))))
    assert restarts >= 1
    assert kept(before, tmp_path) == sum(map(len, before.values()))  # it saved its last epoch
    compare(tmp_path / "results", expected, tally)
    tally.submitted, tally.requeued = tally.submitted + 1, tally.requeued + restarts


def test_a_job_that_may_not_be_requeued_leaves_its_run_to_be_continued(cluster, local, tmp_path, tally):
    limits = ("hydra.launcher.timeout_min=5", "hydra.launcher.max_num_timeout=0")
    process = sweep(*LONG, "variant=plain", *limits, cwd=tmp_path)
    wait_for_rows(tmp_path, process)
    (job,) = cluster.jobs()
    cluster.ask("scancel", "--signal=USR2", job)  # as Slurm does before the time limit
    _, err = finish(process, code=1)
    assert f"its Slurm job {job} ended without a result (" in err
    before = seconds_of(tmp_path)
    out, _ = finish(sweep(*LONG, "variant=plain", cwd=tmp_path))
    assert "1 to be continued" in out
    assert kept(before, tmp_path) == sum(map(len, before.values()))
    compare(tmp_path, local(*LONG, "variant=plain"), tally)
    tally.submitted, tally.killed = tally.submitted + 2, tally.killed + 1


def test_a_preempted_job_is_requeued_and_continues(cluster, local, tmp_path, tally):
    process = sweep(*LONG, ONE_EACH, "checkpoint_seconds=1000", cwd=tmp_path)
    wait_for_both(tmp_path, process)
    before = seconds_of(tmp_path)
    cluster.ask("sbatch", "--partition=urgent", "--nodes=2", f"--output={tmp_path}/urgent", "--wrap=sleep 2")
    out, _ = finish(process)
    assert "waiting" in out
    assert kept(before, tmp_path) == sum(map(len, before.values()))
    compare(tmp_path, local(*LONG), tally)
    tally.submitted, tally.requeued = tally.submitted + 2, tally.requeued + 2


def test_a_sweep_outlasts_a_restart_of_the_controller(cluster, local, tmp_path, tally):
    process = sweep(*LONG, ONE_EACH, cwd=tmp_path)
    wait_for_both(tmp_path, process)
    cluster.kill("slurmctld")
    time.sleep(5)
    assert process.poll() is None
    cluster.start_controller()
    finish(process)
    compare(tmp_path, local(*LONG), tally)
    assert files(tmp_path) == ["digits"]
    tally.submitted += 2


def test_two_sweeps_submitted_at_once_train_every_run_once(cluster, local, tmp_path, tally):
    processes = [sweep(*EIGHT, "runs_per_job=2", cwd=tmp_path) for _ in range(2)]
    for process in processes:
        finish(process)
    compare(tmp_path, local(*EIGHT), tally)
    wait_until(lambda: cluster.jobs() == {})
    tally.submitted += 16


def test_a_sweep_that_detaches_is_watched_by_the_same_command(cluster, local, tmp_path, tally):
    out, _ = finish(sweep(*LONG, ONE_EACH, "--detach", cwd=tmp_path))
    (ids,) = re.findall(r"2 jobs submitted to Slurm, as (\d+)\.", out)
    assert f"scancel {ids}" in out
    assert len(cluster.jobs()) == 2
    out, _ = finish(sweep(*LONG, ONE_EACH, cwd=tmp_path))
    assert f"2 runs in Slurm's queue already, as {ids}, with the options given then." in out
    assert "submitted" not in out
    compare(tmp_path, local(*LONG), tally)
    assert files(tmp_path) == ["digits"]
    tally.submitted += 2


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_command_that_is_stopped_says_what_goes_on(number, code, cluster, local, tmp_path, tally):
    process = sweep(*LONG, ONE_EACH, cwd=tmp_path)
    wait_for_both(tmp_path, process)
    process.send_signal(number)
    _, err = finish(process, code=code, seconds=5)
    (ids,) = re.findall(r"scancel (\d+) ends them", err)
    assert err.startswith("resdepth: stopped watching; Slurm's jobs go on: squeue --me lists them")
    assert err.count("\n") == 1
    assert {job.partition("_")[0] for job in cluster.jobs()} == {ids}
    if number == signal.SIGINT:
        finish(sweep(*LONG, ONE_EACH, cwd=tmp_path))
        compare(tmp_path, local(*LONG), tally)
    else:
        cluster.ask("scancel", ids)
        wait_until(lambda: cluster.jobs() == {})
    tally.submitted += 2


def test_runs_in_the_queue_are_not_started_over(cluster, tmp_path, tally):
    finish(sweep(*FEW, cwd=tmp_path))
    process = sweep(*LONG, ONE_EACH, "--detach", cwd=tmp_path)
    finish(process)
    wait_until(lambda: len(seconds_of(tmp_path)) == 4)
    _, err = finish(sweep(*LONG, ONE_EACH, "--restart", cwd=tmp_path), code=2)
    assert "is in Slurm's queue; scancel " in err
    cluster.ask("scancel", *cluster.jobs())
    wait_until(lambda: cluster.jobs() == {})
    tally.submitted += 4


def test_the_device_is_checked_in_the_job(cluster, tmp_path, tally):
    _, err = finish(sweep(*FEW, "device=cuda:99", cwd=tmp_path), code=1)
    assert err.count("device=cuda:99: torch finds no such CUDA device here") == 2
    finish(sweep(*FEW, cwd=tmp_path))
    tally.submitted += 4


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("hydra.launcher.partition=nowhere", "hydra.launcher.partition=nowhere: sbatch refuses the jobs ("),
        ("hydra.launcher.gpus_per_node=1", "hydra.launcher.gpus_per_node=1: sbatch refuses the jobs ("),
        ("hydra.launcher.tasks_per_node=2", "hydra.launcher.tasks_per_node=2: a job is one process on one node"),
    ],
)
def test_what_slurm_refuses_is_one_line(word, said, cluster, tmp_path):
    done = command("sweep", *FEW, *ON_SLURM, word, cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert done.stderr.startswith(f"resdepth: {said}")
    assert [path.name for path in tmp_path.glob("results/.launch*")] == []


def test_a_killed_command_leaves_its_jobs_to_the_next_one(cluster, local, tmp_path, tally):
    process = sweep(*LONG, ONE_EACH, cwd=tmp_path)
    wait_until(lambda: list(tmp_path.glob("results/.launch-*/jobs.json")))
    process.kill()
    process.wait()
    out, _ = finish(sweep(*LONG, ONE_EACH, cwd=tmp_path))
    assert "2 runs in Slurm's queue already" in out
    compare(tmp_path, local(*LONG), tally)
    assert files(tmp_path) == ["digits"]
    tally.submitted += 2


def test_no_row_was_lost_in_all_of_that(cluster, tally, measurement):
    """The tests above compare every row; this one says how many runs they put through it."""
    assert cluster.jobs() == {}
    assert gone(cluster.job_processes("n1") + cluster.job_processes("n2"))
    assert tally.lost == 0
    text = "{0.submitted} runs submitted, {0.killed} of their jobs killed, {0.requeued} requeued, {0.lost} rows lost"
    measurement(text.format(tally))
