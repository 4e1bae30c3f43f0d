"""The command as a user runs it: in a process of its own, from a checkout and from an installed wheel."""

import os
import resource
import subprocess
import sys

import numpy as np
from conftest import ROOT, TINY, command

import resdepth


def child_seconds():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def test_the_version_is_printed():
    done = command("--version")
    assert done.stdout == f"resdepth {resdepth.__version__}\n"


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
    # Processor time, which other work on the machine does not lengthen.
    assert min(times) < 0.4


def test_a_dry_run_lists_the_runs_and_does_nothing(tmp_path):
    done = command("sweep", "depth=8,1202", "--dry-run", cwd=tmp_path)
    assert done.returncode == 0
    assert "results/digits/plain-8-s0 " in done.stdout
    assert "19,420,986" in done.stdout
    assert done.stdout.count(" new") == 4
    assert "4 runs, 4 to train. Nothing was trained." in done.stdout
    assert not list(tmp_path.iterdir())


def test_sweep_plot_and_summary_from_end_to_end(tmp_path):
    done = command("sweep", "depth=8,14", *TINY, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "4 runs; results in results/digits." in done.stdout
    assert "[4/4] residual-14-s0" in done.stdout
    assert "final training error" in done.stdout
    assert "plain: 14 layers train" in done.stdout
    assert done.stderr == ""

    again = command("sweep", "depth=8,14,20", *TINY, cwd=tmp_path)
    assert "6 runs, 4 finished before and skipped" in again.stdout
    assert "[2/2] residual-20-s0" in again.stdout
    assert "plain: 20 layers train" in again.stdout

    dry = command("sweep", "depth=8,14", *TINY, "--dry-run", cwd=tmp_path)
    assert dry.stdout.count(" finished") == 4

    plotted = command("plot", "results/", cwd=tmp_path)
    files = plotted.stdout.split()
    assert files == [f"results/digits/figures/{n}.{s}" for n in ("curves", "depth") for s in ("png", "svg")]
    assert all((tmp_path / f).stat().st_size > 5000 for f in files)

    summed = command("summary", "results/", "--csv", "table.csv", cwd=tmp_path)
    assert "residual     20" in summed.stdout
    assert (tmp_path / "table.csv").read_text().count("\n") == 1 + 6


def test_train_makes_one_run(tmp_path):
    done = command("train", "depth=8", "variant=plain", *TINY, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert [p.name for p in (tmp_path / "results" / "digits").iterdir()] == [
        "plain-8-s0,data.limit=128,recipe.epochs=2"
    ]


def test_quiet_prints_nothing(tmp_path):
    done = command("sweep", "depth=8", "--quiet", *TINY, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_own_images_are_swept(tmp_path, images):
    np.savez(tmp_path / "mine.npz", **images)
    done = command("sweep", "depth=8", "data=npz", "data.path=mine.npz", "recipe.epochs=2", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "npz, recipe npz (rate 0.02, 2 epochs), seed 0" in done.stdout


def test_plot_names_a_file_it_cannot_read_and_draws_the_rest(tmp_path):
    command("sweep", "depth=8", "-q", *TINY, cwd=tmp_path)
    bad = next((tmp_path / "results" / "digits").glob("plain-*")) / "metrics.csv"
    bad.write_text("nonsense\n")
    done = command("plot", "results", "--format", "png", cwd=tmp_path)
    assert done.returncode == 0
    assert bad.relative_to(tmp_path).as_posix() in done.stderr
    assert "curves.png" in done.stdout


def test_a_failed_run_is_said_and_the_exit_code_is_1(tmp_path):
    command("train", "depth=8", "-q", *TINY, cwd=tmp_path)
    (folder,) = (tmp_path / "results" / "digits").iterdir()
    (folder / "outcome.json").unlink()
    (folder / "checkpoint.pt").write_bytes(b"rubbish")
    done = command("sweep", "depth=8", *TINY, cwd=tmp_path)
    assert done.returncode == 1
    assert "residual-8-s0,data.limit=128,recipe.epochs=2: failed: " in done.stderr
    assert "is no checkpoint of this program; remove it" in done.stderr
    assert done.stderr.count("\n") == 1
    assert "plain-8-s0,data.limit=128,recipe.epochs=2: training error" in done.stdout


def test_an_installed_wheel_works_from_anywhere(tmp_path):
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    build = [*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    site, work, mine = tmp_path / "site", tmp_path / "work", tmp_path / "mine" / "recipe"
    subprocess.run([*pip, "install", "--no-deps", "--target", str(site), str(wheel)], check=True, capture_output=True)
    work.mkdir()
    mine.mkdir(parents=True)
    (mine / "fast.yaml").write_text("defaults: [short]\nlr: 0.07\nepochs: 1\n")
    env = {**os.environ, "PYTHONPATH": str(site)}
    words = ["sweep", "depth=8", "recipe=fast", "data.limit=128", "device=cpu", "--config-dir", str(mine.parent)]
    done = subprocess.run(
        [sys.executable, "-P", "-m", "resdepth", *words], cwd=work, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert sorted(p.name for p in (work / "results" / "digits").iterdir()) == [
        f"{v}-8-s0,recipe=fast,data.limit=128" for v in ("plain", "residual")
    ]
    assert "rate 0.07, 1 epoch, data.limit 128)" in done.stdout
    assert (site / "resdepth" / "config" / "yaml" / "config.yaml").exists()
