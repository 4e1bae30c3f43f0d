"""What a sweep of many short runs costs besides training: to plan, to submit, to watch, to continue and to read.

Every command is executed as a user gives it, in a process of its own. Slurm's commands are stand-ins that accept every
job, and a run writes the files that it always writes, with one row, but has no net.
"""

import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

from resdepth.bench.rows import ScaleCost
from resdepth.config.schema import RunConfig
from resdepth.data.device_data import DeviceData
from resdepth.errors import RunError
from resdepth.results.metrics import SCHEMA_VERSION, EpochRecord
from resdepth.sweep import run as runs
from resdepth.sweep.observer import Observer
from resdepth.sweep.plan import make_plan
from resdepth.training.cuda import Stream
from resdepth.training.schedule import Schedule

_ON_SLURM = ("hydra/launcher=slurm", "hydra.launcher.gpus_per_node=null")
# What a file server has to answer. A line names the file, or with -y the descriptor's.
_STRACE = ("strace", "-f", "-qq", "-y", "-e", "trace=%file,getdents64,fsync,flock,ftruncate")
_TRACED_RUNS = 1000  # of a sweep of more, the calls are counted on one of so many
# A small process starts the command and measures it: the memory of the one that starts it counts as its own.
_WATCH = """
import json, os, sys, time
started = time.perf_counter()
pid = os.spawnvp(os.P_NOWAIT, sys.argv[2], sys.argv[2:])
_, status, used = os.wait4(pid, 0)
with open(sys.argv[1], "w") as file:
    json.dump([time.perf_counter() - started, used.ru_maxrss], file)
sys.exit(os.waitstatus_to_exitcode(status))
"""
_COMMANDS = {
    "sbatch": 'number=$(($(cat "$0.number") + 1)); echo $number > "$0.number"; echo Submitted batch job $number',
    # The jobs that the bench says are running, once; by the next time all their runs have ended.
    "squeue": 'cat "$0.jobs"; : > "$0.jobs"; test ! -e "$0.runs" || { rmdir "{runs}"; mv "$0.runs" "{runs}"; }',
    "scontrol": "echo MaxArraySize = 1001",
    "srun": "",
}


def measure_scale(count: int, device_name: str) -> Iterator[ScaleCost]:
    """Yield what each command of a sweep of so many runs costs, and the runs themselves without their training."""
    operations: dict[str, float] = {}
    if shutil.which("strace"):
        fewer = min(count, _TRACED_RUNS)
        with tempfile.TemporaryDirectory() as folder:
            for name, _, cost in _Commands(Path(folder), fewer, is_traced=True).measure():
                operations[name] = cost.operations / fewer
    with tempfile.TemporaryDirectory() as folder:
        for name, command, cost in _Commands(Path(folder), count, is_traced=False).measure():
            calls, memory = operations.get(name, math.nan), cost.memory_bytes / 2**20
            yield ScaleCost(device_name, count, name, command, cost.jobs, cost.seconds, memory, cost.files, calls)


@dataclass(frozen=True)
class _Cost:
    seconds: float
    memory_bytes: int
    jobs: int
    files: int  # of results and launches, when it has ended
    operations: int  # on them


class _Commands:
    """The commands of a sweep of `count` runs in a folder of its own."""

    def __init__(self, folder: Path, count: int, is_traced: bool) -> None:
        self._folder, self._is_traced, self._results = folder, is_traced, folder / "results"
        self._sweep = ["sweep", "depth=8", "variant=plain", f"seed=range({count})", "recipe.epochs=1", "data.limit=100"]
        self._sweep += ["device=cpu", f"results={self._results}"]
        self._tools = folder / "slurm"
        self._tools.mkdir()
        for name, script in _COMMANDS.items():
            lines = f"#!/bin/sh\n{script}\n".replace("{runs}", str(self._results / "digits"))
            (self._tools / name).write_text(lines, encoding="utf-8")
            (self._tools / name).chmod(0o755)
        (self._tools / "sbatch.number").write_text("0")
        (self._tools / "squeue.jobs").touch()

    def measure(self) -> Iterator[tuple[str, str, _Cost]]:
        on_slurm = [*self._sweep, *_ON_SLURM]
        steps: dict[str, tuple[list[str], Callable[[], None] | None]] = {
            "plan": ([*self._sweep, "--dry-run"], None),
            "submit": ([*on_slurm, "--detach"], None),
            "runs without training": (self._sweep, None),
            "watch": (on_slurm, self._say_running),
            "continue": (self._sweep, None),
            "summary": (["summary", str(self._results)], None),
            "plot": (["plot", str(self._results), "--format", "png"], None),
        }
        for name, (words, before) in steps.items():
            if before is not None:
                before()
            code = f"from resdepth.bench.scale import write_runs; write_runs({words[1:]!r})"
            program = ["-m", "resdepth", *words] if name != "runs without training" else ["-c", code]
            shown = " ".join(["resdepth", *words]).replace(str(self._results), "results")
            yield name, shown if name != "runs without training" else "", self._call(program)

    def _say_running(self) -> None:
        """Have the queue's stand-in say that the jobs of the launch are running, which end while they are watched."""
        (record,) = self._results.glob(".launch-*/jobs.json")
        lines = [f"{job}|RUNNING|None\n" for job in json.loads(record.read_text(encoding="utf-8"))["jobs"]]
        (self._tools / "squeue.jobs").write_text("".join(lines))
        (self._results / "digits").rename(self._tools / "squeue.runs")

    def _call(self, program: Sequence[str]) -> _Cost:
        words, trace = [sys.executable, *program], self._folder / "trace"
        if self._is_traced:
            words = [*_STRACE, "-o", str(trace), *words]
        environment = {**os.environ, "PATH": f"{self._tools}{os.pathsep}{os.environ['PATH']}"}
        watched, used = [sys.executable, "-c", _WATCH, str(self._folder / "used"), *words], self._folder / "used"
        done = subprocess.run(watched, capture_output=True, text=True, env=environment, check=False)
        if done.returncode:
            raise RunError(f"resdepth {program[-1]}: {(done.stderr.strip().splitlines() or ['failed'])[-1]}")
        seconds, memory = json.loads(used.read_text(encoding="utf-8"))
        operations = 0
        if self._is_traced:
            with trace.open(errors="replace") as lines:
                # An open file's attributes are known.
                operations = sum(str(self._results) in line and "AT_EMPTY_PATH" not in line for line in lines)
        jobs = sum(len(json.loads(path.read_text())["jobs"]) for path in self._results.glob(".launch-*/jobs.json"))
        files = sum(path.is_file() for path in self._results.rglob("*"))
        return _Cost(seconds, memory * 1024, jobs, files, operations)


def write_runs(overrides: Sequence[str]) -> None:
    """Do what a job does with the runs of a plan, but for building and training their nets."""
    with patch.object(runs, "Trainer", _NoTrainer):
        runs.train_interleaved(make_plan(overrides).pending, 1, Observer())


class _NoTrainer:
    """Stands in for a Trainer: one epoch, which takes no time."""

    def __init__(self, config: RunConfig, data: DeviceData, stream: Stream | None = None) -> None:
        self.config, self.data, self.stream = config, data, stream or Stream(data.mean.device)
        self.schedule = Schedule.of(config.recipe, len(data.train))
        self.engine, self.epoch, self.weights = "eager", 0, dict[str, Any]()

    def state_dict(self) -> dict[str, Any]:
        return {"tensors": {"mean": self.data.mean}}

    def steps(self, _: Callable[[int], None]) -> Iterator[EpochRecord]:
        c, iterations = self.config, self.schedule.iterations
        names = (SCHEMA_VERSION, c.data.name, c.model.name, c.variant, c.depth, c.shortcut, c.seed)
        yield EpochRecord(*names, 1, iterations, c.recipe.lr, 2.0, 50.0, math.nan, 2.0, 50.0, 0.0)

    def close(self) -> None: ...
