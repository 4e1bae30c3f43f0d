"""From a sweep to figures and tables, with the commands a user types."""

import functools
import shutil
import subprocess
import sys

import pytest
from support.commands import command, environment, forked_command
from support.runs import TINY


@pytest.mark.slow
def test_sweep_plot_and_summary_from_end_to_end(tmp_path):
    done = command("sweep", "depth=8,14", *TINY, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "4 runs; results in results/digits." in done.stdout
    assert "[4/4] residual-14-s0" in done.stdout
    assert "final training error" in done.stdout
    assert "plain: 14 layers train" in done.stdout
    assert done.stderr == ""

    again = forked_command("sweep", "depth=8,14,20", *TINY, cwd=tmp_path)
    assert "6 runs, 4 finished before and skipped" in again.stdout
    assert "[2/2] residual-20-s0" in again.stdout
    assert "plain: 20 layers train" in again.stdout

    dry = forked_command("sweep", "depth=8,14", *TINY, "--dry-run", cwd=tmp_path)
    assert dry.stdout.count(" finished") == 4

    plotted = command("plot", "results/", cwd=tmp_path)
    files = plotted.stdout.split()
    assert files == [f"results/digits/figures/{n}.{s}" for n in ("training", "curves", "depth") for s in ("png", "svg")]
    assert all((tmp_path / f).stat().st_size > 5000 for f in files)

    summed = command("summary", "results/", "--csv", "table.csv", cwd=tmp_path)
    assert "residual     20" in summed.stdout
    assert (tmp_path / "table.csv").read_text().count("\n") == 1 + 6


def test_tables_and_plots_never_load_torch(small_results, tmp_path):
    """With torch out of reach the tables and figures are made; a module that needs it is not loaded."""
    (tmp_path / "torch.py").write_text("raise ImportError('torch is out of reach')")
    shutil.copytree(small_results, tmp_path / "results")
    code = (
        "import sys; from resdepth.cli.app import app;"
        "app(['plot', 'results', '--format', 'png'], standalone_mode=False);"
        "app(['summary', 'results'], standalone_mode=False); assert not {'torch', 'hydra'} & sys.modules.keys()"
    )
    python = functools.partial(subprocess.run, cwd=tmp_path, env=environment(), capture_output=True, text=True)
    done = python([sys.executable, "-c", code], check=False)
    assert done.returncode == 0, done.stderr
    failing = python([sys.executable, "-c", "import resdepth.sweep.run"], check=False)
    assert "out of reach" in failing.stderr  # so the test can fail
