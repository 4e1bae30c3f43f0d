"""A sweep on Slurm, as far as it can be tested without one: its commands are stand-ins. See tests/system/slurm/."""

import errno
import json
import os
import threading
import time
from pathlib import Path

import pytest
from support.commands import forked_command
from support.platforms import posix
from support.runs import TINY, train_here

from resdepth.errors import ConfigError, RunError
from resdepth.results.files.lock import locked
from resdepth.results.outcome import Outcome, write_outcome
from resdepth.sweep.groups import make_jobs
from resdepth.sweep.jobs import launch_folder, slurm
from resdepth.sweep.jobs import watch as watching
from resdepth.sweep.jobs.cluster import submit
from resdepth.sweep.jobs.watch import watch
from resdepth.sweep.observer import Observer
from resdepth.sweep.plan import make_plan
from resdepth.sweep.preflight import preflight

pytestmark = [posix, pytest.mark.usefixtures("elsewhere")]

ON_SLURM = ("hydra/launcher=slurm", "device=cpu")
FOUR = ("depth=8", "seed=0,1", *TINY[:2], "runs_per_job=1", *ON_SLURM)


@pytest.fixture
def tools(tmp_path, monkeypatch):
    """Stand-ins for Slurm's commands, and what they answer: `queue`, one line per job."""
    folder = tmp_path / "tools"
    folder.mkdir()
    scripts = {
        "sbatch": 'echo "$1" >> "$0.calls"; . "$0.answer"',
        "squeue": 'cat "$0.answer"',
        "scontrol": 'cat "$0.answer"',
        "srun": "",
        "sacct": 'cat "$0.answer"',
    }
    for name, script in scripts.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
        (folder / f"{name}.answer").touch()
    (folder / "sbatch.answer").write_text("echo Submitted batch job 7")
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    (folder / "scontrol.answer").write_text("ClusterName = here\nMaxArraySize = 1001\n")
    slurm.settings.cache_clear()
    monkeypatch.setattr(watching, "_GRACE_SECONDS", 0.2)
    monkeypatch.setattr(watching, "_SECONDS", 0.05)
    monkeypatch.setattr(launch_folder, "_BEGIN_SECONDS", 0.0)
    yield folder
    slurm.settings.cache_clear()


def say(tools, *lines, command="squeue"):
    (tools / f"{command}.answer").write_text("".join(f"{line}\n" for line in lines))


def ready(*words):
    return preflight(make_plan(words))


def test_the_queue_is_read_by_job(tools):
    say(tools, "7_0|RUNNING|None", "7_1|PENDING|Resources", "9|PENDING|JobHeldUser")
    jobs = slurm.queue()
    assert jobs == {
        "7_0": slurm.Job("RUNNING", "None"),
        "7_1": slurm.Job("PENDING", "Resources"),
        "9": slurm.Job("PENDING", "JobHeldUser"),
    }
    assert slurm.describe(jobs) == (
        "1 job running, 2 jobs waiting (Resources, JobHeldUser); held until: scontrol release 9"
    )
    assert slurm.describe({}) == ""
    assert slurm.abbreviate(["7_0", "7_1", "9"]) == "7 9"


def test_a_controller_that_does_not_answer_is_not_an_empty_queue(tools):
    (tools / "squeue").write_text("#!/bin/sh\nexit 1\n")
    assert slurm.queue() is None
    with pytest.raises(RunError, match="Slurm does not answer"):
        submit(ready(*FOUR))


def test_a_users_own_settings_of_squeue_do_not_hide_jobs(tools, monkeypatch):
    (tools / "squeue").write_text('#!/bin/sh\necho "7|RUNNING|${SQUEUE_STATES:-none}"\n')
    monkeypatch.setenv("SQUEUE_STATES", "PENDING")
    assert slurm.queue() == {"7": slurm.Job("RUNNING", "none")}


def test_how_a_job_ended_is_known_from_squeue_or_sacct(tools):
    assert slurm.final_state("7") == ""
    say(tools, "CANCELLED by 1000", command="sacct")
    assert slurm.final_state("7") == "CANCELLED"
    say(tools, "NODE_FAIL")
    assert slurm.final_state("7") == "NODE_FAIL"


@pytest.mark.parametrize(
    ("words", "sizes"),
    [
        (("depth=8,14,20",), [6]),  # short runs share a job
        (("depth=8", "seed=range(0,40,1)", "variant=plain"), [32, 8]),
        (("depth=8,14,20", "runs_per_job=4"), [4, 2]),
        (("depth=8,14,20", "runs_per_job=1"), [1] * 6),
        # Long ones do not: 64,000 iterations each.
        (("data=cifar10", "depth=20,56", "variant=plain"), [1, 1]),
        (("depth=8,14", "precision=fp32,bf16"), [4, 4]),
    ],
)
def test_the_jobs_of_slurm(words, sizes):
    jobs = make_jobs(make_plan([*words, *ON_SLURM]))
    assert [len(job) for job in jobs] == sizes
    for job in jobs:
        work = [run.total_multiply_adds for run in job]
        assert work == sorted(work, reverse=True)


@pytest.mark.parametrize(("words", "sizes"), [((), [1] * 6), (("runs_per_job=4",), [4, 2])])
def test_the_jobs_of_another_launcher_hold_one_run_unless_said_otherwise(words, sizes):
    plan = make_plan(["depth=8,14,20", "hydra/launcher=joblib", *words])
    assert [len(job) for job in make_jobs(plan)] == sizes


def test_a_job_keeps_its_runs_when_some_of_them_are_finished():
    words = ("depth=8,14", "variant=plain", *TINY[:2], "device=cpu")
    train_here(*words[1:], "depth=8")
    (job,) = make_jobs(make_plan([*words, *ON_SLURM]))
    assert [(run.config.depth, run.state) for run in job] == [(14, "new"), (8, "finished")]
    train_here(*words)
    assert make_jobs(make_plan([*words, *ON_SLURM])) == ()


def test_every_job_reads_its_own_runs(tmp_path):
    jobs = make_jobs(make_plan(["depth=8,14,20", "runs_per_job=4", *ON_SLURM]))
    launch_folder.write_jobs(tmp_path, jobs)
    assert [launch_folder.read_job(tmp_path, number) for number in range(2)] == list(jobs)


def test_a_submission_is_found_by_the_next_command(tools):
    first = submit(ready(*FOUR))
    assert first.submitted == ("7_0", "7_1", "7_2", "7_3")
    say(tools, "7_0|RUNNING|None", "7_1|PENDING|None")
    (tools / "sbatch.answer").write_text("echo Submitted batch job 8")
    second = submit(ready(*FOUR))
    assert second.submitted == ("8_0", "8_1")
    assert sorted(set(second.jobs.values())) == ["7_0", "7_1", "8_0", "8_1"]
    assert {run: job for run, job in second.jobs.items() if job.startswith("7")} == {
        run: job for run, job in first.jobs.items() if job in ("7_0", "7_1")
    }
    assert (tools / "sbatch.calls").read_text().count("\n") == 2


def test_the_script_asks_for_a_gpu_a_limit_and_a_requeue(tools):
    submit(ready(*FOUR))
    (written,) = Path("results").glob(".launch-*/*_submission.sh")
    wanted = ("gpus-per-node=1", "cpus-per-task=2", "time=240", "requeue", "signal=USR2@120", "array=0-3%4")
    assert {f"#SBATCH --{line}" for line in wanted} <= set(written.read_text().splitlines())


def test_more_jobs_than_an_array_may_have_make_several(tools, monkeypatch):
    monkeypatch.setattr(slurm, "max_array_size", lambda: 3)
    (tools / "sbatch.answer").write_text('echo Submitted batch job $(wc -l < "$0.calls")')
    assert submit(ready(*FOUR)).submitted == ("1_0", "1_1", "1_2", "2")


def test_what_was_submitted_before_a_refusal_is_watched_and_the_rest_is_told(tools, monkeypatch):
    monkeypatch.setattr(slurm, "max_array_size", lambda: 3)
    (tools / "sbatch.answer").write_text(
        'test $(wc -l < "$0.calls") = 1 && echo Submitted batch job 7 && exit; echo sbatch: error: Limit >&2; exit 1'
    )
    submitted = submit(ready(*FOUR))
    assert submitted.submitted == ("7_0", "7_1", "7_2")
    assert len(submitted.runs) == 3
    later = "run the same command again when those have ended, which submits the others"
    assert submitted.refused == f"of 4 jobs Slurm took 3: sbatch refuses the jobs (Limit); {later}"
    (record,) = Path("results").glob(".launch-*/jobs.json")
    assert list(json.loads(record.read_text())["jobs"]) == ["7_0", "7_1", "7_2"]
    # The same command while they are in the queue, which is full.
    say(tools, *(f"7_{number}|PENDING|None" for number in range(3)))
    again = submit(ready(*FOUR))
    assert (len(again.runs), again.submitted) == (3, ())
    assert again.refused.startswith("of 1 jobs Slurm took 0: sbatch refuses the jobs (Limit)")


def test_a_refusal_is_one_line_and_leaves_nothing(tools, capsys):
    (tools / "sbatch.answer").write_text("echo sbatch: error: Invalid partition >&2; exit 1")
    with pytest.raises(ConfigError, match=r"partition=null: sbatch refuses the jobs \(Invalid partition\); sinfo"):
        submit(ready(*FOUR))
    assert list(Path("results").glob(".launch-*")) == []
    assert capsys.readouterr().err == ""


def test_the_variables_of_a_job_do_not_reach_the_next(tools, monkeypatch):
    (tools / "sbatch.answer").write_text('env > "$0.variables"; echo Submitted batch job 7')
    for name in ("SLURM_JOB_ID", "SLURM_CPUS_PER_TASK", "SLURM_CONF", "SBATCH_PARTITION"):
        monkeypatch.setenv(name, "4")
    submit(ready(*FOUR))
    names = {line.partition("=")[0] for line in (tools / "sbatch.variables").read_text().splitlines()}
    assert "SLURM_CONF" in names
    assert not names & {"SLURM_JOB_ID", "SLURM_CPUS_PER_TASK"}


def test_the_folders_of_launches_that_are_over_are_removed(tools):
    submit(ready(*FOUR))
    (old,) = Path("results").glob(".launch-*")
    say(tools, "7_0|RUNNING|None")
    new = launch_folder.make(Path("results"))
    assert old.is_dir()
    say(tools)
    launch_folder.make(Path("results"))
    assert old.is_dir()  # with the output of jobs whose runs have not ended
    for run in make_plan(FOUR).runs:
        run.directory.mkdir(parents=True)
        write_outcome(run.directory, Outcome("finished", 1.0))
    with locked(new):  # a launch that is going on
        launch_folder.make(Path("results"))
    assert not old.is_dir()
    assert new.is_dir()


def test_the_jobs_of_another_cluster_are_left_alone(tools):
    """With one home for two clusters, the other one's numbers mean other jobs."""
    submit(ready(*FOUR))
    (old,) = Path("results").glob(".launch-*")
    (tools / "scontrol.answer").write_text("ClusterName = there\n")
    slurm.settings.cache_clear()
    say(tools, "7_0|RUNNING|None", "7_1|RUNNING|None")
    assert len(submit(ready(*FOUR)).submitted) == 4
    assert old.is_dir()


def test_a_refused_restart_leaves_the_results_where_they_are(tools):
    words = ("depth=8", "variant=plain", *TINY[:2], "device=cpu")
    train_here(*words)
    (run,) = make_plan(words).runs
    before = (run.directory / "metrics.csv").read_text()
    (tools / "sbatch.answer").write_text("exit 1")
    with pytest.raises(ConfigError, match="sbatch refuses the jobs"):
        submit(preflight(make_plan([*words, *ON_SLURM], restart=True)))
    assert (run.directory / "metrics.csv").read_text() == before


def test_a_launch_that_cannot_be_written_leaves_the_results_where_they_are(tools, monkeypatch):
    words = ("depth=8", "variant=plain", *TINY[:2], "device=cpu")
    train_here(*words)
    (run,) = make_plan(words).runs
    before = (run.directory / "metrics.csv").read_text()

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(launch_folder, "write_jobs", full)
    with pytest.raises(OSError, match="No space left"):
        submit(preflight(make_plan([*words, *ON_SLURM], restart=True)))
    assert [path.name for path in Path("results").iterdir()] == ["digits"]
    assert (run.directory / "metrics.csv").read_text() == before


def test_a_run_that_another_process_trains_is_not_started_over(tools):
    words = ("depth=8", "variant=plain", *TINY[:2], "device=cpu")
    train_here(*words)
    (run,) = make_plan(words).runs
    with locked(run.directory), pytest.raises(ConfigError, match="is being trained by another process"):
        submit(preflight(make_plan([*words, *ON_SLURM], restart=True)))


def test_a_run_that_failed_in_a_job_with_others_may_be_tried_again(tools):
    words = (*FOUR[:5], *ON_SLURM)
    first = submit(ready(*words, "runs_per_job=4"))
    assert first.submitted == ("7",)
    run = make_plan([*words, "runs_per_job=4"]).runs[0]
    run.directory.mkdir(parents=True)
    write_outcome(run.directory, Outcome("failed", 1.0, "out of memory"))
    say(tools, "7|RUNNING|None")
    (tools / "sbatch.answer").write_text("echo Submitted batch job 8")
    again = submit(ready(*words, "runs_per_job=4"))
    assert again.jobs[run.directory] == "8"
    assert list(again.jobs.values()).count("7") == 3


def test_where_slurm_does_not_answer_its_folders_stay(tools):
    submit(ready(*FOUR))
    (old,) = Path("results").glob(".launch-*")
    (tools / "squeue").write_text("#!/bin/sh\nexit 1\n")
    launch_folder.make(Path("results"))
    assert old.is_dir()


class Told(Observer):
    def __init__(self):
        self.ended, self.jobs = {}, []

    def on_end(self, run, outcome, last):
        self.ended[run.label] = outcome

    def on_wait(self, jobs):
        self.jobs.append(jobs)


def test_a_run_whose_job_has_left_the_queue_without_a_result_has_failed(tools):
    submitted = submit(ready(*FOUR))
    folder = submitted.folders["7_0"]
    others = "srun: error: n1: task 0: Killed\nslurmstepd-n1: error: *** JOB 7 ON n1 CANCELLED ***\n"
    (folder / "7_0_0_log.out").write_text(f"submitit INFO: x\nMemoryError: no room\n{others}")
    say(tools, "OUT_OF_MEMORY", command="sacct")
    told = Told()
    outcomes = watch(submitted, told)
    assert {o.state for o in outcomes.values()} == {"failed"}
    messages = {submitted.jobs[run]: o.message for run, o in outcomes.items()}
    log = folder / "7_0_0_log.out"
    remedy = "set hydra.launcher.mem_gb=N and run the same command again, which continues the run"
    ended = "its Slurm job {} ended without a result (OUT_OF_MEMORY)"
    assert messages["7_0"] == f"{ended.format('7_0')}: MemoryError: no room; see {log}; {remedy}"
    assert messages["7_1"] == f"{ended.format('7_1')}; {remedy}"
    assert log.exists()  # for whoever looks into it


def test_slurm_is_asked_once_how_a_job_with_many_runs_ended(tools, monkeypatch):
    submitted = submit(ready("depth=8", "seed=range(0,8,1)", *TINY[:2], *ON_SLURM))
    asked = []
    monkeypatch.setattr(slurm, "final_state", lambda job: asked.append(job) or "TIMEOUT")
    outcomes = watch(submitted, Told())
    assert len(outcomes) == 16
    assert asked == ["7"]


def test_a_run_of_two_sweeps_is_lost_when_no_job_of_either_is_left(tools):
    """The job of this sweep found the run locked by the other sweep's, which is requeued."""
    words = ("depth=8", "variant=plain", *TINY[:2], *ON_SLURM)
    submitted = submit(ready(*words))
    (folder,) = submitted.jobs
    (tools / "sbatch.answer").write_text("echo Submitted batch job 8")
    submit(ready(*words))
    say(tools, "8|PENDING|BeginTime")
    folder.mkdir(parents=True)
    threading.Timer(1.5, lambda: write_outcome(folder, Outcome("finished", 1.0))).start()
    threading.Timer(2.0, lambda: say(tools)).start()
    told = Told()
    assert watch(submitted, told)[folder].state == "finished"
    assert "1 job waiting (BeginTime)" in told.jobs


def test_a_lock_that_nobody_releases_does_not_make_the_command_wait_for_ever(tools, monkeypatch):
    monkeypatch.setattr(watching, "_SILENT_SECONDS", 1.0)
    submitted = submit(ready("depth=8", "variant=plain", *TINY[:2], *ON_SLURM))
    (folder,) = submitted.jobs
    folder.mkdir(parents=True)
    with locked(folder):
        (outcome,) = watch(submitted, Told()).values()
    assert outcome.message == f"{folder}/.lock is held, but nothing was written for an hour; remove it"


def test_a_run_that_another_process_trains_is_waited_for(tools):
    submitted = submit(ready("depth=8", "variant=plain", *TINY[:2], *ON_SLURM))
    (folder,) = submitted.jobs
    folder.mkdir(parents=True)

    def train():
        with locked(folder):
            time.sleep(1.5)
            write_outcome(folder, Outcome("finished", 1.0))

    thread = threading.Thread(target=train)
    thread.start()
    outcomes = watch(submitted, Told())
    thread.join()
    assert outcomes[folder].state == "finished"


def test_a_controller_that_is_away_is_waited_for(tools):
    submitted = submit(ready("depth=8", "variant=plain", *TINY[:2], *ON_SLURM))
    (folder,) = submitted.jobs
    answering = (tools / "squeue").read_text()
    (tools / "squeue").write_text("#!/bin/sh\nexit 1\n")
    folder.mkdir(parents=True)

    def come_back():
        time.sleep(1.5)
        write_outcome(folder, Outcome("finished", 1.0))
        (tools / "squeue").write_text(answering)

    thread = threading.Thread(target=come_back)
    thread.start()
    assert watch(submitted, Told())[folder].state == "finished"
    thread.join()


def test_how_many_jobs_run_and_wait_is_told(tools):
    submitted = submit(ready(*FOUR))
    say(tools, "7_0|RUNNING|None", "7_1|PENDING|Priority", "1|RUNNING|None")
    for folder in submitted.jobs:
        folder.mkdir(parents=True)
    threading.Timer(0.5, lambda: [write_outcome(folder, Outcome("finished", 1.0)) for folder in submitted.jobs]).start()
    threading.Timer(1.0, lambda: say(tools)).start()
    told = Told()
    watch(submitted, told)
    assert "1 job running, 1 job waiting (Priority)" in told.jobs


def test_an_earlier_failure_is_not_taken_for_the_result(tools):
    words = ("depth=8", "variant=plain", *TINY[:2], *ON_SLURM)
    (run,) = make_plan(words).runs
    run.directory.mkdir(parents=True)
    write_outcome(run.directory, Outcome("failed", 1.0, "out of memory"))
    train_here(*words[:-2], "device=cpu")
    write_outcome(run.directory, Outcome("failed", 1.0, "out of memory"))
    submit(ready(*words))
    assert not (run.directory / "outcome.json").exists()


def test_figures_are_drawn_until_the_queue_is_empty(tools):
    submit(ready(*FOUR))
    folders = [Path("results/digits")]
    assert not launch_folder.is_queued(folders)
    say(tools, "7_3|PENDING|Priority")
    assert launch_folder.is_queued(folders)
    assert launch_folder.is_queued([Path("results")])
    assert not launch_folder.is_queued([Path("elsewhere/digits")])


def test_a_login_node_without_slurm_is_told_so(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match="slurm: Slurm's sbatch, srun and squeue cannot be found here; use a login"):
        ready(*FOUR)


@pytest.mark.parametrize(
    ("said", "line"),
    [
        (
            "Invalid generic resource (gres) specification",
            r"gpus_per_node=1: sbatch refuses the jobs .*gpus_per_node=null device",
        ),
        ("Requested node configuration is not available", r"cpus_per_task=2: sbatch refuses the jobs .*lower it"),
        (
            "something else",
            r"hydra/launcher=slurm: sbatch refuses the jobs \(something else\); set hydra\.launcher\.KEY",
        ),
    ],
)
def test_what_sbatch_says_names_the_key(said, line, tools):
    (tools / "sbatch.answer").write_text(f"echo 'sbatch: error: {said}' >&2; exit 1")
    with pytest.raises(ConfigError, match=line):
        submit(ready(*FOUR))
    assert not Path("results/digits").exists()


def test_a_preset_without_a_launcher_is_told_how_to_begin():
    folder = Path("mine/hydra/launcher")
    folder.mkdir(parents=True)
    (folder / "cluster.yaml").write_text("partition: gpu\n")
    with pytest.raises(ConfigError, match="hydra/launcher=cluster: its file names no launcher; begin it with"):
        make_plan(["depth=8", "hydra/launcher=cluster"], Path("mine"))


def test_jobs_that_can_never_begin_are_told(tools):
    text = slurm.describe({"7": slurm.Job("PENDING", "PartitionConfig")})
    assert text.endswith(
        "the cluster does not have what these ask for, so end them and set hydra.launcher.KEY: scancel 7"
    )


def test_a_limit_shorter_than_its_announcement_is_refused(tools):
    with pytest.raises(ConfigError, match=r"signal_delay_s=120: would end jobs of hydra\.launcher\.timeout_min=2 as"):
        ready(*FOUR, "hydra.launcher.timeout_min=2")


@pytest.mark.parametrize("word", ["nodes=2", "tasks_per_node=2"])
def test_several_processes_would_train_the_same_run(word, tools):
    key = word.partition("=")[0]
    with pytest.raises(ConfigError, match=rf"hydra\.launcher\.{key}=2: a job is one process on one node"):
        ready(*FOUR, f"hydra.launcher.{word}")


def test_detach_needs_jobs_that_go_on():
    done = forked_command("sweep", "depth=8", "--detach", cwd=Path.cwd())
    assert done.returncode == 2
    assert done.stderr == ("resdepth: --detach: needs jobs that go on without this command; add hydra/launcher=slurm\n")


def test_a_preset_of_ones_own_is_slurm_too(tools):
    folder = Path("mine/hydra/launcher")
    folder.mkdir(parents=True)
    (folder / "cluster.yaml").write_text("defaults:\n  - slurm\npartition: gpu\n")
    plan = make_plan(["depth=8", "hydra/launcher=cluster", "device=cpu"], Path("mine"))
    assert plan.launcher.is_slurm
    assert plan.launcher.settings["partition"] == "gpu"
    submit(preflight(plan), Path("mine"))
    (written,) = Path("results").glob(".launch-*/*_submission.sh")
    assert "#SBATCH --partition=gpu\n" in written.read_text()


def test_the_output_of_a_lost_job_goes_when_its_runs_have_ended(tools):
    words = ("depth=8", "variant=plain", *TINY[:2], *ON_SLURM)
    lost = submit(ready(*words))
    (outcome,) = watch(lost, Told()).values()
    assert outcome.state == "failed"
    (old,) = Path("results").glob(".launch-*")
    (tools / "sbatch.answer").write_text("echo Submitted batch job 8")
    again = submit(ready(*words))
    assert old.is_dir()
    (folder,) = again.jobs
    folder.mkdir(parents=True)
    write_outcome(folder, Outcome("finished", 1.0))
    watch(again, Told())
    assert list(Path("results").glob(".launch-*")) == []
