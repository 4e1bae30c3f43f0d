"""`resdepth bench`: measure, and leave the CSV, its figure and the environment in a folder."""

import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from resdepth import device as devices
from resdepth.bench import findings
from resdepth.bench.baseline import plain_sweep_seconds
from resdepth.bench.figure import draw
from resdepth.bench.measure import measure
from resdepth.bench.rows import StepCost, SweepTime
from resdepth.cli.printing import console
from resdepth.errors import ConfigError, RunError
from resdepth.report.style import save_figure
from resdepth.results import environment, rows, run_directory
from resdepth.results.environment import ENVIRONMENT
from resdepth.sweep.plan import PlannedRun, make_specs
from resdepth.sweep.preflight import check_devices

_WAYS = {
    "plain loop, one after the other, all cores": "",
    "resdepth, one after the other, all cores": "runs_per_job=1",
    "resdepth, side by side": "runs_per_job=auto",
}


def bench_steps(overrides: Sequence[str], out: Path | None, at_once: Sequence[int], *, baseline: bool) -> Path:
    """Measure a training step at every point of the overrides, so many runs at once; returns the results' folder."""
    runs = make_specs(overrides)
    folder = _folder(runs, out, "steps")
    costs: list[StepCost] = []
    for cost in measure(runs, at_once, baseline=baseline):
        console().print(findings.line(cost))
        costs.append(cost)
        # After each, so that a bench that is broken off has its rows.
        rows.write(folder / "bench.csv", costs)
    for finding in findings.findings(costs):
        console().print(finding)
    if any(not cost.note for cost in costs):
        save_figure(draw(folder / "bench.csv"), folder / "bench", ("png", "svg"))
    return folder


def bench_sweep(overrides: Sequence[str], out: Path | None) -> Path:
    """Time the whole sweep in three ways, one after the other on the same machine; returns the results' folder."""
    runs = make_specs(overrides)
    folder, device = _folder(runs, out, "sweep"), devices.resolve(runs[0].config.device)
    devices.set_precision(runs[0].config.precision, device)
    name, sweep = devices.device_name(device), " ".join(overrides)
    times: list[SweepTime] = []
    for way, words in _WAYS.items():
        seconds = _sweep_seconds([*overrides, words]) if words else plain_sweep_seconds(runs, device)
        times.append(SweepTime(name, sweep, way, seconds, seconds / (times[0].seconds if times else seconds)))
        console().print(findings.sweep_line(times[-1]))
        rows.write(folder / "sweep.csv", times)
    return folder


def _sweep_seconds(words: Sequence[str]) -> float:
    """Wall time of the command itself, from its start to its end."""
    with tempfile.TemporaryDirectory() as results:
        started = time.perf_counter()
        command = [sys.executable, "-m", "resdepth", "sweep", "--quiet", *words, f"results='{results}'"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RunError(f"the sweep failed: {(done.stderr.strip().splitlines() or ['without a word'])[-1]}")
        return time.perf_counter() - started


def _folder(runs: Sequence[PlannedRun], out: Path | None, what: str) -> Path:
    """The folder of the results, made when all is well; an earlier bench in it is kept aside."""
    check_devices(runs)
    device = devices.resolve(runs[0].config.device)
    slug = re.sub(r"\W+", "-", devices.device_name(device)).strip("-").lower()
    folder = out or Path("results", "bench", f"{slug}-{what}")
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            if not (folder / ENVIRONMENT).is_file():
                raise ConfigError("--out", folder, "exists and holds no bench; choose another folder")
            run_directory.set_aside(folder)
        folder.mkdir(parents=True, exist_ok=True)
        environment.write(folder, device)
    except OSError as error:
        raise ConfigError("--out", folder, f"cannot be written to ({error.strerror}); say --out FOLDER") from error
    return folder
