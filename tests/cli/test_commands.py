"""The commands: what each prints, writes and returns."""

import os
import re
import subprocess
import sys

import numpy as np
import pytest
from support.commands import ROOT, command, forked_command
from support.images import write_folder
from support.runs import TINY

import resdepth
from resdepth import load_results


def child_seconds():
    """Processor time of the ended child processes; always 0 on Windows."""
    used = os.times()
    return used.children_user + used.children_system


def test_the_version_is_printed():
    done = command("--version")
    assert done.stdout == f"resdepth {resdepth.__version__}\n"


@pytest.mark.parametrize("words", [(), ("probe",)])
def test_without_a_command_the_help_is_printed_as_help(words):
    done = forked_command(*words)
    assert done.returncode == 2
    assert done.stdout == forked_command(*words, "--help").stdout
    assert done.stderr == ""


@pytest.mark.xdist_group("exclusive")
def test_help_starts_fast_and_without_the_heavy_libraries():
    times = []
    for _ in range(5):
        before = child_seconds()
        done = command("--help")
        times.append(child_seconds() - before)
    assert all(name in done.stdout for name in ("sweep", "train", "plot", "summary"))
    heavy = ("torch", "hydra", "pandas", "matplotlib")
    code = f"import sys, resdepth.cli.main; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    # Processor time, which other work on the machine lengthens little.
    assert min(times) < 0.4


@pytest.mark.parametrize(
    "words", [(), ("sweep",), ("train",), ("plot",), ("summary",), ("bench",), ("show",), ("probe",), ("probe", "grow")]
)
def test_h_prints_the_help(words):
    assert forked_command(*words, "-h").stdout == forked_command(*words, "--help").stdout
    assert forked_command(*words, "-h").stdout.startswith(f"Usage: {' '.join(['resdepth', *words])} ")


def test_the_bare_command_prints_the_help():
    assert forked_command().stdout == forked_command("--help").stdout


def test_jobs_is_runs_per_job_and_multirun_is_a_sweep(tmp_path):
    words = ("sweep", "depth=8", "--multirun", "-j", "2", "--cfg", "job")
    said = forked_command(*words, cwd=tmp_path)
    assert (said.returncode, said.stderr) == (0, "")
    assert "\nruns_per_job: '2'\n" in said.stdout


def test_a_dry_run_lists_the_runs_and_does_nothing(tmp_path):
    done = forked_command("sweep", "depth=8,1202", "--dry-run", cwd=tmp_path)
    assert done.returncode == 0
    assert "results/digits/plain-8-s0 " in done.stdout
    assert "19,420,986" in done.stdout
    assert done.stdout.count(" new") == 4
    assert "4 runs, 4 to train. Nothing was trained." in done.stdout
    assert not list(tmp_path.iterdir())


def test_a_dry_run_says_how_long_it_would_take_and_which_data_are_missing(tmp_path):
    words = (
        "sweep",
        "depth=8",
        "data=mnist",
        "recipe.epochs=1",
        "device=cpu",
        f"data.root={tmp_path}/none",
        "--dry-run",
    )
    *_, missing, estimate = forked_command(*words, cwd=tmp_path).stdout.splitlines()
    assert missing == f"data=mnist is not in {tmp_path}/none; the sweep downloads it first (12 MB)."
    assert re.match(r"About \d+ (s|min|h \d+ min) on ", estimate)
    assert not list(tmp_path.iterdir())
    never = forked_command(*words, "data.download=false", cwd=tmp_path)
    assert "data.download=false, so the sweep will fail: set data.root=FOLDER that holds it." in never.stdout


def test_a_dry_run_of_a_sweep_for_another_machine_says_so(tmp_path):
    done = forked_command("sweep", "depth=8", "device=cuda:99", "--dry-run", cwd=tmp_path)
    assert done.returncode == 0
    assert done.stdout.splitlines()[-1].startswith("On this machine the sweep would not start: device=cuda:99: ")


@pytest.mark.parametrize(("kind", "line"), [("job", "  momentum: 0.8"), ("origin", "recipe.momentum")])
def test_the_composed_configuration_is_printed_and_nothing_trained(tmp_path, kind, line):
    done = forked_command("sweep", "recipe.momentum=0.8", "--cfg", kind, cwd=tmp_path)
    assert done.returncode == 0
    assert done.stdout.startswith("# The first of 6 points of the sweep.\n")
    assert f"\n{line}" in done.stdout
    assert not list(tmp_path.iterdir())


def test_train_makes_one_run(tmp_path):
    done = forked_command("train", "depth=8", "variant=plain", *TINY, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert [p.name for p in (tmp_path / "results" / "digits").iterdir()] == [
        "plain-8-s0,data.limit=128,recipe.epochs=2"
    ]


def test_quiet_prints_nothing(tmp_path):
    done = forked_command("sweep", "depth=8", "--quiet", *TINY, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_own_images_are_swept(tmp_path, images):
    np.savez(tmp_path / "mine.npz", **images)
    done = forked_command("sweep", "depth=8", "data=npz", "data.path=mine.npz", "recipe.epochs=2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "results in results/mine." in done.stdout
    assert "mine, recipe npz (rate 0.02, 2 epochs), fp32, seed 0" in done.stdout


def test_a_folder_of_classes_is_split_and_says_so(tmp_path, images):
    write_folder(tmp_path / "parts", images)
    (tmp_path / "parts" / "train").rename(tmp_path / "flowers")
    said = "flowers has no train/ and test/: 12 of 60 images, 20 % of each class by file name, are the test set.\n"
    words = ("sweep", "depth=8", "data=folder", "data.path=flowers", "recipe.epochs=1")
    assert said in forked_command(*words, "--dry-run", cwd=tmp_path).stdout
    assert said in forked_command(*words, cwd=tmp_path).stdout
    assert said not in forked_command(*words, "-q", "--restart", cwd=tmp_path).stdout
    assert load_results(tmp_path / "results").dataset.unique() == ["flowers"]


def test_plot_names_a_file_it_cannot_read_and_draws_the_rest(tmp_path):
    forked_command("sweep", "depth=8", "-q", *TINY, cwd=tmp_path)
    bad = next((tmp_path / "results" / "digits").glob("plain-*")) / "metrics.csv"
    bad.write_text("nonsense\n")
    done = forked_command("plot", "results", "--format", "png", cwd=tmp_path)
    assert done.returncode == 0
    assert bad.relative_to(tmp_path).as_posix() in done.stderr
    assert "curves.png" in done.stdout


def test_a_failed_run_is_said_and_the_exit_code_is_1(tmp_path):
    forked_command("train", "depth=8", "-q", *TINY, cwd=tmp_path)
    (folder,) = (tmp_path / "results" / "digits").iterdir()
    (folder / "outcome.json").unlink()
    (folder / "checkpoint.pt").write_bytes(b"rubbish")
    done = forked_command("sweep", "depth=8", *TINY, cwd=tmp_path)
    assert done.returncode == 1
    assert "residual-8-s0,data.limit=128,recipe.epochs=2: failed: " in done.stderr
    assert "is not a checkpoint of this program; remove it" in done.stderr
    assert done.stderr.count("\n") == 1
    assert "plain-8-s0,data.limit=128,recipe.epochs=2: training error" in done.stdout
