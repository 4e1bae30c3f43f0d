"""The machine: its memory and cores, what a container allows of them, its signals. Standard library only."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Ctrl-C, the end of a job, a closed terminal; and the two of which a scheduler sends one before a job's time is over.
_STOPPING = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2")
# The cores of this process when it started.
_CORES = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()


def host_bytes() -> int:
    """Return the memory of this machine; more than any has where the system does not tell."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return 2**60


def slurm_bytes() -> int | None:
    """Return the memory that Slurm allots to the job in which this process is; None where it states none."""
    megabytes, per_core = os.environ.get("SLURM_MEM_PER_NODE", ""), os.environ.get("SLURM_MEM_PER_CPU", "")
    if not megabytes.isdigit() and per_core.isdigit():
        megabytes = str(int(per_core) * int(os.environ.get("SLURM_CPUS_ON_NODE", "1")))
    return int(megabytes) * 2**20 or None if megabytes.isdigit() else None  # 0 stands for all


def container_limit(name: str) -> list[str]:
    """Return the fields of a cgroup limit file such as cpu.max; none where there is no such file."""
    try:
        return Path("/sys/fs/cgroup", name).read_text(encoding="utf-8").split()
    except (OSError, ValueError):
        return []


def format_bytes(size: int) -> str:
    """Format a number of bytes in a suitable unit: 1.5 GiB."""
    for power, unit in ((50, "PiB"), (40, "TiB"), (30, "GiB")):
        if size >= 2**power:
            return f"{size / 2**power:,.1f} {unit}"
    return f"{size / 2**20:,.1f} MiB"


# Slurm's share of a node for this process, the first where it was started by srun; not every cluster enforces it.
_SLURM_CORES = ("SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE")


def cores() -> int:
    """Return the cores that this process may use: by affinity, container, Slurm's job and OMP_NUM_THREADS."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    share = container_limit("cpu.max")
    if len(share) == 2 and all(word.isdigit() for word in share):
        allowed = max(1, min(allowed, int(share[0]) // int(share[1])))
    slurms = [limit for name in _SLURM_CORES if (limit := os.environ.get(name, ""))]
    limits = [int(limit) for limit in (*slurms[:1], os.environ.get("OMP_NUM_THREADS", "")) if limit.isdigit()]
    return min([allowed, *(limit for limit in limits if limit > 0)])


def use_all_cores() -> None:
    """Let this thread run on every core of the process: one started by a pinned thread inherits its only core."""
    if _CORES:
        os.sched_setaffinity(0, _CORES)


@contextmanager
def signals_blocked() -> Iterator[None]:
    """Keep Ctrl-C, and what a scheduler sends to every process of a job, from a process started in the `with` block.

    It ends with this one anyway.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def signals_deferred() -> Iterator[None]:
    """Call the handlers of signals that stop this program at the end of the `with` block, not within it.

    Blocking the signals would not do: they would reach another thread of this process, and Python would call the
    handler here nevertheless.
    """
    names = _STOPPING if threading.current_thread() is threading.main_thread() else ()
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    handlers = {number: handler for number in numbers if callable(handler := signal.getsignal(number))}
    received: list[tuple[int, object]] = []
    try:
        for number in handlers:
            signal.signal(number, lambda *event: received.append(event))
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for number, frame in received:
            handlers[number](number, frame)  # type: ignore[arg-type]
