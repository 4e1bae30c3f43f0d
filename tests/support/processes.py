"""Commands that are interrupted: start one, wait for its first row, find the processes below it."""

import contextlib
import subprocess
import sys
import time
from pathlib import Path

from support.commands import environment, process_arguments

# Two short runs, which leave a moment between the first row and the end for a kill or a signal.
WORDS = ("sweep", "depth=8", "recipe.epochs=12", "device=cpu", "checkpoint_seconds=0")


def start(*words, cwd, cores=1, **options):
    """A command that goes on meanwhile; on two cores it trains both runs at once, in processes of their own."""
    return subprocess.Popen(
        [sys.executable, "-m", "resdepth", *words], cwd=cwd, env=environment(OMP_NUM_THREADS=str(cores)),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **process_arguments(),
        **options,
    )  # fmt: skip


def wait_for_rows(folder, process, seconds=60):
    """Wait until some run has a row; the first moment at which there is something to lose."""
    end = time.monotonic() + seconds
    while not any(path.read_text().count("\n") > 1 for path in folder.rglob("metrics.csv")):
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.02)


def children_of(pid):
    """The processes below one, with their command lines."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == pid:
                found[int(folder.name)] = (folder / "cmdline").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def is_running(pid):
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def parents():
    """The parent of every process there is, by number."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            found[int(stat.parent.name)] = int(stat.read_text().rpartition(") ")[2].split()[1])
    return found


def children(process):
    """The processes below this one."""
    above, found = parents(), {process.pid}
    while new := {pid for pid, parent in above.items() if parent in found} - found:
        found |= new
    return found - {process.pid}


def trainers(process):
    """Of those, the ones that train: children of the fork server, which is the command's child."""
    above = parents()
    return {pid for pid in children(process) if above.get(pid) != process.pid}


def gone(pids, seconds=5):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not any(Path(f"/proc/{pid}").exists() for pid in pids):
            return True
        time.sleep(0.05)
    return False
