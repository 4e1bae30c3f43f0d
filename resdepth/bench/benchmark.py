"""The bench: measure, and write the rows, their figure and the environment into a folder."""

import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from resdepth import device as devices
from resdepth.bench import findings
from resdepth.bench.figure import draw
from resdepth.bench.rows import BusyCost, ScaleCost, StepCost, SweepTime
from resdepth.bench.scale import measure_scale
from resdepth.bench.steps.baseline import plain_sweep_seconds
from resdepth.bench.steps.busy import measure_busy
from resdepth.bench.steps.measure import make_points, measure
from resdepth.errors import ConfigError, RunError
from resdepth.report.style import save_figure
from resdepth.results import environment
from resdepth.results.environment import ENVIRONMENT
from resdepth.results.files import rows
from resdepth.results.run_directory import set_aside
from resdepth.sweep.plan import RunSpec, make_specs
from resdepth.sweep.preflight import require_devices

Report = Callable[[str], None]
_SWEEPS = {
    "plain loop, one after the other, all cores": "",
    "resdepth, one after the other, all cores": "runs_per_job=1",
    "resdepth, side by side": "runs_per_job=auto",
}


def bench_steps(
    overrides: Sequence[str],
    out: Path | None,
    at_once: Sequence[int],
    report: Report,
    *,
    baseline: bool,
    minutes: float | None = None,
) -> Path:
    """Measure a training step at every point, alone and several at once; `report` receives lines. Returns its folder.

    The most informative comes first; what is left out when `minutes` are over is reported.
    """
    specs = make_specs(overrides)
    folder = _make_folder(specs, out, "steps")
    points = make_points(specs, at_once, baseline=baseline)
    measured: dict[int, StepCost] = {}
    costs: list[StepCost] = []
    for number, cost in measure(points, minutes):
        report(findings.line(cost))
        measured[number] = cost
        costs = [cost for _, cost in sorted(measured.items())]
        # After each, so that an interrupted bench has its rows.
        rows.write(folder / "bench.csv", costs)
    for finding in findings.findings(costs):
        report(finding)
    if any(not cost.note for cost in costs):
        save_figure(draw(folder / "bench.csv"), folder / "bench", ("png", "svg"))
    return folder


def bench_sweep(overrides: Sequence[str], out: Path | None, report: Report) -> Path:
    """Time the whole sweep in three ways, one after the other on the same machine; return the folder."""
    specs = make_specs(overrides)
    folder, device = _make_folder(specs, out, "sweep"), devices.resolve(specs[0].config.device)
    devices.set_precision(specs[0].config.precision, device)
    times: list[SweepTime] = []
    for way, option in _SWEEPS.items():
        seconds = _sweep_seconds([*overrides, option]) if option else plain_sweep_seconds(specs, device)
        ratio = seconds / times[0].seconds if times else 1.0
        times.append(SweepTime(devices.device_name(device), " ".join(overrides), way, seconds, ratio))
        report(findings.sweep_line(times[-1]))
        rows.write(folder / "sweep.csv", times)
    return folder


def bench_busy(overrides: Sequence[str], out: Path | None, report: Report) -> Path:
    """Time a training step on the idle machine and beside a process that keeps one core busy; return the folder.

    Raises ConfigError where the step does not run on a CPU, with threads that can be pinned.
    """
    specs = make_specs(overrides)
    for spec in specs:
        if devices.resolve(spec.config.device).type != "cpu":
            raise ConfigError("device", spec.config.device, "a busy core slows steps on a CPU; use device=cpu")
        if spec.config.threads == "1" or torch.get_num_threads() == 1:
            raise ConfigError("threads", 1, "a single thread waits for no other; measure with two or more")
        if not devices.can_pin(spec.config.thread_count):
            remedy = "threads are pinned where they take all of two to eight cores, on Linux; measure there"
            raise ConfigError("threads", spec.config.threads, remedy)
    folder = _make_folder(specs, out, "busy")
    costs: list[BusyCost] = []
    for pinned, unpinned in map(measure_busy, specs):
        report(findings.busy_line(pinned, unpinned))
        costs += [pinned, unpinned]
        rows.write(folder / "busy.csv", costs)
    return folder


def bench_runs(count: int, out: Path | None, report: Report) -> Path:
    """Measure what a sweep of so many short runs costs besides their training; return the folder."""
    folder = _make_folder(make_specs(["device=cpu"]), out, "runs")
    costs: list[ScaleCost] = []
    for cost in measure_scale(count, devices.device_name(torch.device("cpu"))):
        costs.append(cost)
        report(findings.scale_line(cost))
    rows.write(folder / "scale.csv", costs)
    return folder


def _sweep_seconds(overrides: Sequence[str]) -> float:
    """Time `resdepth sweep` in a process of its own, its start included."""
    with tempfile.TemporaryDirectory() as results:
        started = time.perf_counter()
        command = [sys.executable, "-m", "resdepth", "sweep", "--quiet", *overrides, f"results='{results}'"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RunError(f"the sweep failed: {(done.stderr.strip().splitlines() or ['no message'])[-1]}")
        return time.perf_counter() - started


def _make_folder(specs: Sequence[RunSpec], out: Path | None, kind: str) -> Path:
    """Check the devices and make the results' folder; an earlier bench in it is kept in .aside."""
    require_devices(specs)
    device = devices.resolve(specs[0].config.device)
    slug = re.sub(r"\W+", "-", devices.device_name(device)).strip("-").lower()
    folder = out or Path("results", "bench", f"{slug}-{kind}")
    try:
        if (folder / ENVIRONMENT).is_file():
            set_aside(folder)
        elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise ConfigError("--out", folder, "exists and is not a bench; choose another folder")
        folder.mkdir(parents=True, exist_ok=True)
        environment.write(folder, device)
    except OSError as error:
        raise ConfigError("--out", folder, f"cannot be written to ({error.strerror}); use --out FOLDER") from error
    return folder
