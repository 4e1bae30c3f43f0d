"""Faults of disk, rights and memory, each really caused: a line says what to do; said again, it finishes."""

import os
import subprocess
from pathlib import Path

import pytest
import torch
from support.commands import command_with, forked_command
from support.faults import file_size_limit, lines_of, without_roots_rights
from support.platforms import linux
from support.runs import all_rows

import resdepth.sweep.plan
import resdepth.sweep.run
from resdepth.results import checkpoint
from resdepth.sweep.jobs.launch import launch
from resdepth.sweep.observer import Observer
from resdepth.sweep.plan import make_plan
from resdepth.sweep.preflight import preflight

pytestmark = [linux, pytest.mark.slow, pytest.mark.xdist_group("exclusive")]

WORDS = ("sweep", "depth=8", "recipe.epochs=4", "data.limit=128", "device=cpu", "-q")
LONG = tuple(word.replace("epochs=4", "epochs=40") for word in WORDS)
PLAIN, RESIDUAL = RUNS = [f"results/digits/{v}-8-s0,data.limit=128,recipe.epochs=4" for v in ("plain", "residual")]
AGAIN = "fix that and run the same command again, which continues the run"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A folder in which the sweep went well; its checkpoints are kept."""
    folder = tmp_path_factory.mktemp("whole")
    done = forked_command(*WORDS, "keep_checkpoint=true", cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    return folder


@pytest.fixture(scope="module")
def long(tmp_path_factory):
    """The same over more epochs, whose rows outgrow the file that Hydra writes before them."""
    folder = tmp_path_factory.mktemp("long")
    assert forked_command(*LONG, cwd=folder).returncode == 0
    return folder


def assert_finishes(folder, whole, *more):
    """The command, said again where nothing is in its way, ends with the rows of an uninterrupted sweep."""
    done = forked_command(*WORDS, *more, cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert all_rows(folder) == all_rows(whole)
    for run in RUNS:
        left = sorted(file.name for file in (folder / run).iterdir())
        assert left == ["config.yaml", "environment.json", "metrics.csv", "outcome.json"]


def test_a_row_that_cannot_be_written_fails_its_run_and_no_row_before_it_is_lost(tmp_path, long):
    size = min(path.stat().st_size for path in long.rglob("metrics.csv")) * 5 // 6

    def before():
        checkpoint._MOST_LOSS = 1e9  # a checkpoint is larger than the rows, and would fail first
        file_size_limit(size)()

    done = command_with(before, *LONG, cwd=tmp_path)
    runs = [run.replace("epochs=4", "epochs=40") for run in RUNS]
    assert lines_of(done, 1) == [f"resdepth: {run}: failed: {run}: File too large; {AGAIN}" for run in runs]
    for name, rows in all_rows(tmp_path).items():
        assert 30 < len(rows) < 40
        assert rows == all_rows(long)[name][: len(rows)]
    assert not list(tmp_path.rglob("*.part"))
    assert forked_command(*LONG, cwd=tmp_path).returncode == 0
    assert all_rows(tmp_path) == all_rows(long)


def test_a_checkpoint_that_cannot_be_written_fails_its_run_and_leaves_no_half_of_it(tmp_path, whole):
    size = (whole / PLAIN / "checkpoint.pt").stat().st_size // 2
    done = command_with(file_size_limit(size), *WORDS, "checkpoint_seconds=0", cwd=tmp_path)
    assert lines_of(done, 1) == [f"resdepth: {run}: failed: {run}: File too large; {AGAIN}" for run in RUNS]
    assert not [*tmp_path.rglob("*.part"), *tmp_path.rglob("checkpoint.pt")]
    assert_finishes(tmp_path, whole)


@pytest.fixture
def small_disk(tmp_path, whole):
    """A file system with room for one checkpoint and a half."""
    size = (whole / PLAIN / "checkpoint.pt").stat().st_size * 3 // 2
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", tmp_path], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"needs a tmpfs, and the right to mount one: {done.stderr.strip()}")
    yield tmp_path
    subprocess.run(["umount", "--lazy", tmp_path], check=True)


def test_on_a_full_disk_the_checkpoint_before_stays_and_the_run_goes_on_from_it(small_disk, whole):
    done = forked_command(*WORDS, "checkpoint_seconds=0", cwd=small_disk)
    assert lines_of(done, 1) == [f"resdepth: {run}: failed: {run}: No space left on device; {AGAIN}" for run in RUNS]
    assert (small_disk / PLAIN / "checkpoint.pt").exists()
    assert not list(small_disk.rglob("*.part"))
    subprocess.run(["mount", "-o", "remount,size=100m", small_disk], check=True)
    dry = forked_command(*WORDS[:-1], "--dry-run", cwd=small_disk)
    assert dry.stdout.count("failed before, to be tried again") == 2
    assert_finishes(small_disk, whole)


def test_figures_on_a_full_disk_are_not_drawn_by_halves(whole, tmp_path):
    done = command_with(file_size_limit(9000), "plot", whole / "results", "--out", tmp_path / "figures", cwd=tmp_path)
    (line,) = lines_of(done, 2)
    assert line.endswith("/figures: cannot be written to (File too large); use --out FOLDER")
    assert list((tmp_path / "figures").iterdir()) == []


def test_an_output_that_cannot_be_written_fails_no_run(tmp_path, whole):
    def print_to_a_full_disk():
        os.dup2(os.open("/dev/full", os.O_WRONLY), 1)

    done = command_with(print_to_a_full_disk, *WORDS[:-1], cwd=tmp_path)
    assert lines_of(done, 1) == [
        "resdepth: standard output cannot be written (No space left on device); further output is discarded"
    ]
    assert all_rows(tmp_path) == all_rows(whole)


def test_an_error_that_nobody_foresaw_is_one_line_and_its_traceback_is_there_for_who_asks(tmp_path):
    def break_the_plan():
        resdepth.sweep.plan.make_plan = lambda *_, **__: 1 / 0

    def break_it_and_ask():
        break_the_plan()
        os.environ["RESDEPTH_TRACEBACK"] = "1"

    done = command_with(break_the_plan, *WORDS, cwd=tmp_path)
    assert lines_of(done, 1) == [
        "resdepth: ZeroDivisionError: division by zero; to report an unexpected error, set RESDEPTH_TRACEBACK=1"
    ]
    assert "Traceback" in command_with(break_it_and_ask, *WORDS, cwd=tmp_path).stderr


@pytest.fixture
def read_only():
    """Takes the right to write a folder away; it is given back at the end."""
    folders = []

    def take(folder, mode=0o555):
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(mode)
        folders.append(folder)

    yield take
    for folder in folders:
        folder.chmod(0o755)


@pytest.mark.parametrize(
    ("folder", "mode", "words", "code", "line"),
    [
        (".", 0o555, WORDS, 2, "results=results: results/digits cannot be written to (Permission denied); set"),
        ("results", 0o555, WORDS, 2, "results=results: results/digits cannot be written to (Permission denied); set"),
        ("results/digits", 0o555, WORDS, 2, "results=results: results/digits cannot be written to (Permission denied)"),
        (PLAIN, 0o555, WORDS, 1, f"{PLAIN}: failed: "),
        (PLAIN, 0o000, WORDS, 2, f"results=results: {PLAIN} cannot be used (Permission denied); set"),
    ],
    ids=["the folder", "results", "the experiment", "the run", "the run, not even readable"],
)  # fmt: skip
def test_results_that_cannot_be_written_are_said_in_one_line(
    tmp_path, whole, read_only, folder, mode, words, code, line
):
    read_only(tmp_path / folder, mode)
    done = command_with(without_roots_rights, *words, cwd=tmp_path)
    (said,) = lines_of(done, code)
    assert said.startswith(f"resdepth: {line}")
    (tmp_path / folder).chmod(0o755)
    # A run that cannot be written to is no obstacle to the other one.
    assert list(all_rows(tmp_path)) == ([Path(RESIDUAL).name] if line.endswith("failed: ") else [])
    assert_finishes(tmp_path, whole)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("plot", "{0}/results"), "--out={0}/results/digits/figures: cannot be written to (Permission denied)"),
        (("plot", "{0}/results", "--out", "shut/x"), "--out=shut/x: cannot be written to (Permission denied); use"),
        (("summary", "{0}/results", "--csv", "shut/x.csv"), "--csv=shut/x.csv: cannot be written (Permission denied)"),
    ],
)
def test_figures_and_tables_that_cannot_be_written_are_said_in_one_line(tmp_path, whole, read_only, words, line):
    read_only(tmp_path / "shut")
    read_only(whole / "results" / "digits" / "figures")
    done = command_with(without_roots_rights, *(word.format(whole) for word in words), cwd=tmp_path)
    (said,) = lines_of(done, 2)
    assert said.startswith(f"resdepth: {line.format(whole)}")


def test_a_net_too_wide_for_the_memory_fails_and_the_others_are_trained(tmp_path):
    def spare_600_megabytes():
        import resource

        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + 600 * 2**20,) * 2)

    words = ("sweep", "depth=8", "variant=plain", "model.width=8,1024,16", "recipe.epochs=2", "data.limit=128", "-q")
    done = command_with(spare_600_megabytes, *words, "device=cpu", cwd=tmp_path)
    (line,) = lines_of(done, 1)
    assert "model.width=1024,recipe.epochs=2: failed: out of memory on the device; use recipe.batch_size=64" in line
    assert [len(rows) for rows in all_rows(tmp_path).values()] == [2, 2]


def test_a_gpu_without_memory_fails_its_run_and_the_others_are_trained(tmp_path, monkeypatch):
    def runs_out_on_plain(config, data, stream):
        if config.variant == "plain":
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nGPU 0 has ...")
        return training(config, data, stream)

    training = resdepth.sweep.run.Trainer
    monkeypatch.setattr(resdepth.sweep.run, "Trainer", runs_out_on_plain)
    monkeypatch.chdir(tmp_path)
    words = ("depth=8", "recipe.epochs=2", "data.limit=128", "device=cpu", "recipe.batch_size=3")
    plain, residual = launch(preflight(make_plan(words)), Observer())
    assert plain.message == "out of memory on the device; use a smaller model.width or a lower depth"
    assert residual.state == "finished"
