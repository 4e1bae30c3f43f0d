"""The command `bench`."""

from pathlib import Path
from typing import Annotated

from typer import Option

from resdepth.cli.commands.options import Overrides
from resdepth.cli.signals import exit_on_signals
from resdepth.errors import ConfigError


@exit_on_signals(continues=False)
def bench(
    overrides: Overrides = None,
    at_once: Annotated[str, Option(help="Numbers of runs at once: 1,2,4 measures 1, 2 and 4 runs at once.")] = "1",
    baseline: Annotated[bool, Option("--usual/--no-usual", help="Also measure the usual DataLoader loop.")] = True,
    minutes: Annotated[
        float | None, Option(help="Start no measurement after this many minutes; the most informative come first.")
    ] = None,
    sweep: Annotated[bool, Option("--sweep", help="Time the whole sweep instead of a step.")] = False,
    busy: Annotated[bool, Option("--busy", help="Time a step beside a process that keeps one core busy.")] = False,
    runs: Annotated[
        int | None, Option(metavar="N", help="Plan, submit, watch, continue and read a sweep of N runs; train none.")
    ] = None,
    out: Annotated[
        Path | None, Option(help="Folder for the results.", show_default="results/bench/DEVICE-steps, -sweep, ...")
    ] = None,
) -> None:
    """Measure a training step: time, memory, ratio to the device's lower bounds, and the usual loop for comparison."""
    numbers = at_once.split(",")
    if not all(number.isdigit() and 1 <= int(number) <= 32 for number in numbers):
        raise ConfigError("--at-once", at_once, "needs whole numbers from 1 to 32, such as 1,2,4")
    if minutes is not None and not 0 < minutes < 10**6:
        raise ConfigError("--minutes", minutes, "needs a number above 0")
    if sum((minutes is not None, sweep, busy, runs is not None)) > 1:
        raise ConfigError(
            "--sweep, --busy, --runs, --minutes", "several", "each is a bench of its own; give one of them"
        )
    if runs is not None and not 1 <= runs <= 10_000:
        raise ConfigError("--runs", runs, "needs a whole number from 1 to 10000, the most that a sweep may have")
    if runs is not None and overrides:
        raise ConfigError("--runs", runs, f"measures runs of its own; leave {' '.join(overrides)} out")
    from resdepth.bench.benchmark import bench_busy, bench_runs, bench_steps, bench_sweep
    from resdepth.cli.printing import console

    report = console().print
    if sweep:
        folder = bench_sweep(overrides or [], out, report)
    elif busy:
        folder = bench_busy(overrides or [], out, report)
    elif runs is not None:
        folder = bench_runs(runs, out, report)
    else:
        counts = [int(number) for number in numbers]
        folder = bench_steps(overrides or [], out, counts, report, baseline=baseline, minutes=minutes)
    print(folder)
