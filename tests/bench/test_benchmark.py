"""The bench: its rows, what it keeps and refuses."""

import json
import os
import re
import subprocess
import sys
from dataclasses import fields

import pandas as pd
import pytest
import torch
from support.commands import command
from support.platforms import posix

from resdepth import device
from resdepth.bench.benchmark import bench_busy, bench_steps, bench_sweep
from resdepth.bench.rows import BASELINE, BusyCost, StepCost
from resdepth.bench.steps import busy
from resdepth.errors import ConfigError
from resdepth.sweep import preflight

TINY_STEP = ("depth=8", "variant=plain", "device=cpu", "recipe.batch_size=16")


@pytest.mark.slow
def test_a_bench_measures_every_engine_asked_for_and_the_usual_loop_beside_it(tmp_path, capsys):
    folder = bench_steps([*TINY_STEP, "engine=eager"], tmp_path / "b", [1, 2], print, baseline=True)
    table = pd.read_csv(folder / "bench.csv")
    assert list(table) == [f.name for f in fields(StepCost)]
    assert list(zip(table.engine, table.at_once, strict=True)) == [("eager", 1), ("eager", 2), (BASELINE, 1)]
    assert (table.step_ms_low > 0).all()
    assert (table.step_ms_low <= table.step_ms).all()
    assert (table.step_ms <= table.step_ms_high).all()
    assert table.images_per_second.tolist() == pytest.approx((1000 * 16 / table.step_ms).tolist(), rel=1e-4)
    assert (table.first_step_seconds > 0).all()
    assert list(table.threads) == [torch.get_num_threads(), 1, torch.get_num_threads()]
    assert (folder / "bench.png").stat().st_size > 5000
    assert json.loads((folder / "environment.json").read_text())["torch"] == torch.__version__
    said = capsys.readouterr().out
    share = re.search(r"plain-8, eager, fp32: (.+) of the usual loop's step \(fp32\)", said)[1]
    assert float(share) == pytest.approx(table.step_ms[0] / table.step_ms[2], abs=0.0051)
    assert "2 at once train" in said


@pytest.mark.slow
def test_memory_grows_with_depth(tmp_path):
    # What the first step of a process loads counts for neither depth.
    bench_steps(TINY_STEP, tmp_path / "first", [1], print, baseline=False)
    words = ["depth=8,56", "variant=plain", "device=cpu", "data=cifar10", "recipe.batch_size=32"]
    table = pd.read_csv(bench_steps(words, tmp_path / "b", [1], print, baseline=False) / "bench.csv")
    ratio = table.peak_memory_mib[1] / table.peak_memory_mib[0]
    assert 3 < ratio < 12  # 56 / 8, and what both need


def test_what_does_not_fit_is_a_row_that_says_so(tmp_path, monkeypatch, capsys):
    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB\nmore")

    monkeypatch.setattr(preflight, "Trainer", full)
    monkeypatch.setenv("RESDEPTH_TRACEBACK", "1")
    folder = bench_steps(TINY_STEP, tmp_path / "b", [1], print, baseline=True)
    table = pd.read_csv(folder / "bench.csv")
    assert table.note[0] == "CUDA out of memory. Tried to allocate 9 GiB"
    assert table.step_ms.isna().tolist() == [True, False]
    printed = capsys.readouterr()
    assert "plain-8, eager, fp32: CUDA out of memory" in printed.out
    assert ", in full\n" in printed.err


@pytest.mark.slow
def test_a_step_is_timed_beside_a_busy_process_with_pinned_threads_and_without(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(busy, "_ROUNDS", 1)
    monkeypatch.setattr(busy, "_SECONDS", 0.3)
    rivals, start = [], busy.subprocess.Popen

    def listen(command, **more):
        process = start(command, **more)
        if command[1] == "-c":
            rivals.append(process)
        return process

    monkeypatch.setattr(busy.subprocess, "Popen", listen)
    monkeypatch.setattr(device, "can_pin", lambda _: True)
    with device.threads(2, pinned=False):
        folder = bench_busy(TINY_STEP, tmp_path / "b", print)
    table = pd.read_csv(folder / "busy.csv")
    assert list(table) == [f.name for f in fields(BusyCost)]
    assert list(table.pinned) == [True, False]
    assert (table.threads == 2).all()
    assert (table[["steps", "idle_ms", "busy_ms"]] > 0).all(axis=None)
    assert [rival.args[2] for rival in rivals] == [busy._LOOP] * 2 + [""] * 2
    assert all(rival.poll() is not None for rival in rivals)
    assert "digits, plain-8, 2 threads: " in capsys.readouterr().out


def test_threads_that_cannot_be_pinned_are_not_said_to_be(tmp_path, monkeypatch):
    monkeypatch.setattr(device, "can_pin", lambda _: False)
    with (
        device.threads(2, pinned=False),
        pytest.raises(ConfigError, match="threads=auto: threads are pinned where they take all of two to eight cores"),
    ):
        bench_busy(TINY_STEP, tmp_path / "b", print)
    assert not (tmp_path / "b").exists()


@posix
def test_the_busy_process_ends_with_the_bench_and_is_out_of_reach_of_ctrl_c(monkeypatch):
    rivals, start = [], busy.subprocess.Popen
    monkeypatch.setattr(busy.subprocess, "Popen", lambda *a, **k: rivals.append(start(*a, **k)) or rivals[-1])
    with busy._rival(is_busy=True):
        (rival,) = rivals
        assert os.getpgid(rival.pid) != os.getpgid(0)
        assert rival.poll() is None
    assert rival.poll() is not None
    # One whose parent is no longer the bench.
    assert subprocess.run([sys.executable, "-c", busy._LOOP, "0"], timeout=30, check=False).returncode == 0


def test_an_earlier_bench_is_kept_aside_and_another_folder_is_left_alone(tmp_path):
    first = bench_steps(TINY_STEP, tmp_path / "b", [1], print, baseline=False)
    before = (first / "bench.csv").read_text()
    bench_steps(TINY_STEP, tmp_path / "b", [1], print, baseline=False)
    assert (tmp_path / ".aside" / "b.1" / "bench.csv").read_text() == before
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("!")
    with pytest.raises(ConfigError, match="exists and is not a bench; choose another folder"):
        bench_steps(TINY_STEP, tmp_path / "mine", [1], print, baseline=False)


@pytest.mark.slow
@pytest.mark.xdist_group("exclusive")
def test_a_sweep_is_timed_against_the_plain_loop(tmp_path, capsys):
    folder = bench_sweep(["depth=8", "device=cpu", "recipe.epochs=1"], tmp_path / "b", print)
    table = pd.read_csv(folder / "sweep.csv")
    assert len(table) == 3
    assert table.ratio[0] == 1
    assert table.ratio.tolist() == pytest.approx((table.seconds / table.seconds[0]).tolist(), rel=1e-4)
    said = re.search(r"resdepth, side by side: (.+) s, (.+) of the plain loop's time", capsys.readouterr().out)
    # The CSV has six digits, from which the last one printed may round the other way.
    assert float(said[1]) == pytest.approx(table.seconds[2], abs=0.051)
    assert float(said[2]) == pytest.approx(table.ratio[2], abs=0.0051)


@pytest.mark.parametrize("number", ["0", "33", "x", "1,", "-1"])
def test_a_number_at_once_that_is_none_is_refused(number, tmp_path):
    done = command("bench", "depth=8", "--at-once", number, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"resdepth: --at-once={number}: needs whole numbers from 1 to 32, such as 1,2,4\n"


@pytest.mark.slow
def test_points_measured_twice_have_two_rows(tmp_path):
    table = pd.read_csv(bench_steps(TINY_STEP, tmp_path / "b", [1, 1], print, baseline=False) / "bench.csv")
    assert list(table.at_once) == [1, 1]


@pytest.mark.slow
def test_the_command_lists_what_its_minutes_leave_out(tmp_path):
    words = ("depth=8,14", "variant=plain", "device=cpu", "recipe.batch_size=16", "--no-usual", "--minutes", "0.0001")
    done = command("bench", *words, "--out", "b", cwd=tmp_path)
    assert "plain-8, eager, fp32: " in done.stdout
    assert "plain-14, eager, fp32: left out: too little of the 0.0001 minutes is left\n" in done.stdout
    assert "left out" in (tmp_path / "b" / "bench.csv").read_text()


@pytest.mark.gpu
def test_a_bench_on_a_gpu_measures_all_engines_and_switches(tmp_path, measurement):
    words = ["depth=20", "variant=residual", "data=cifar10", "precision=tf32", "device=cuda"]
    lines = []
    table = pd.read_csv(bench_steps(words, tmp_path / "b", [1, 8], lines.append, baseline=True) / "bench.csv")
    assert list(dict.fromkeys(table.engine)) == ["eager", "graph", "compiled", BASELINE]
    assert set(table.options.dropna()) == {"memory_format=contiguous", "native_batch_norm=true"}
    assert table.note.isna().all()
    for line in lines:
        measurement(line)
