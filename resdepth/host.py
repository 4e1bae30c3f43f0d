"""How much memory there is and how it is said; what a container allows. Standard library only."""

import os
from pathlib import Path


def host_bytes() -> int:
    """The memory of this machine; where the system does not say, more than any has."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return 2**60


def container_limit(name: str) -> list[str]:
    """The words of a limit that a container sets its processes, such as cpu.max; none where there is no such."""
    try:
        return Path("/sys/fs/cgroup", name).read_text(encoding="utf-8").split()
    except (OSError, ValueError):
        return []


def format_bytes(size: int) -> str:
    """Bytes in the unit that suits them: 1.5 GiB."""
    for power, unit in ((50, "PiB"), (40, "TiB"), (30, "GiB")):
        if size >= 2**power:
            return f"{size / 2**power:,.1f} {unit}"
    return f"{size / 2**20:,.1f} MiB"


def cores() -> int:
    """Cores this process may use; OMP_NUM_THREADS, which limits torch's threads, limits them too."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    share = container_limit("cpu.max")
    if len(share) == 2 and all(word.isdigit() for word in share):
        allowed = max(1, min(allowed, int(share[0]) // int(share[1])))
    limit = os.environ.get("OMP_NUM_THREADS", "")
    return min(allowed, int(limit)) if limit.isdigit() and int(limit) > 0 else allowed
