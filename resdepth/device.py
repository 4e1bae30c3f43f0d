"""torch devices: selection, precision, threads, memory, name."""

import ctypes
import os
import platform
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import torch

from resdepth.errors import ConfigError
from resdepth.host import container_limit, cores, host_bytes, slurm_bytes

# Read by CUDA when it starts. Queues of work on the device: with the default of 8, streams wait for each other.
os.environ.setdefault("CUDA_DEVICE_MAX_CONNECTIONS", "32")
# Read by cuBLAS when it starts: its results are repeatable only with workspaces of a fixed size.
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

# With more threads than these, oneDNN stops and starts some at every step; a new one would share the first one's core.
_MOST_PINNED = 8

# Confines each of so many threads to the cores given for its number.
_Team = Callable[[int, Callable[[int], set[int]]], None]


def resolve(name: str) -> torch.device:
    """Return the torch device; `auto` is cuda if available, else cpu. Raises ConfigError if there is no such device."""
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        return torch.device("cuda" if count else "cpu")
    device = torch.device(name)
    # torch stores the number in a byte: the index of its cuda:999 is -25.
    if device.type == "cuda" and int(name.partition(":")[2] or 0) >= count:
        raise ConfigError("device", name, f"torch finds no such CUDA device here ({count} found); use device=auto")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ConfigError("device", name, "torch finds no Apple GPU here; use device=auto")
    return device


def every(name: str) -> tuple[str, ...]:
    """Return the names of the devices that `name` stands for: every GPU here for `auto` and `cuda`, else itself."""
    if name not in ("auto", "cuda") or not torch.cuda.is_available() or torch.cuda.device_count() < 2:
        return (name,)
    return tuple(f"cuda:{number}" for number in range(torch.cuda.device_count()))


def memory_bytes(device: torch.device) -> int:
    """Return the device's total memory."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    return min(host_bytes(), slurm_bytes() or host_bytes())


def require_precision(precision: str, device: torch.device) -> None:
    """Check that the device supports the precision, without setting it. Raises ConfigError."""
    if precision == "tf32" and device.type != "cuda":
        raise ConfigError("precision", precision, f"needs a CUDA device; on {device.type} use fp32 or bf16")


def set_precision(precision: str, device: torch.device) -> None:
    """Set the precision, and make results repeatable: one configuration and seed gives one CSV. Raises ConfigError."""
    require_precision(precision, device)
    # cuDNN's default is tf32. These are torch's older settings: once the newer ones (fp32_precision) are set,
    # torch.compile fails to read the older (pytorch issue 166387).
    torch.backends.cudnn.allow_tf32 = precision == "tf32"
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False


def free_memory(device: torch.device) -> int:
    """Return the bytes still available on the device; an estimate where the system does not report them."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    try:
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
        found = dict(line.split(":", 1) for line in lines)
        available = int(found["MemAvailable"].split()[0]) * 1024
        available = min(available, slurm_bytes() or available)
        limit, used = container_limit("memory.max"), container_limit("memory.current")
        return min(available, int(limit[0]) - int(used[0])) if limit and used and limit[0] != "max" else available
    except (OSError, KeyError, ValueError):
        return host_bytes() // 2 if hasattr(os, "sysconf") else 2**30


@contextmanager
def threads(count: int | None, *, pinned: bool) -> Iterator[None]:
    """Set torch's number of CPU threads inside the `with` block; None leaves it unchanged.

    Threads that take every core of this machine are each `pinned` to one of them. OpenMP's threads spin where they wait
    for each other; if another process keeps one core busy, the system may run two of them in turn on the other core,
    and a step takes up to a hundred times as long. `resdepth bench --busy` measures it.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    used, allowed = torch.get_num_threads(), _allowed_cores()
    team = _team_of_all_cores(used) if pinned else None
    try:
        if team is not None:
            team(used, lambda number: {allowed[number]})
        yield
    finally:
        if team is not None:
            team(used, lambda _: set(allowed))
        torch.set_num_threads(before)


def can_pin(count: int | None) -> bool:
    """Whether `threads` pins so many threads, None for torch's own number."""
    return _team_of_all_cores(count or torch.get_num_threads()) is not None


def _team_of_all_cores(count: int) -> "_Team | None":
    """Return what confines so many OpenMP threads to cores, if they take every core of this machine; else None."""
    return _openmp_team() if 1 < count == len(_allowed_cores()) <= _MOST_PINNED else None


def _allowed_cores() -> list[int]:
    """Return the numbers of the cores that this thread may use, if it may use all that this process may; else none."""
    allowed = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    return allowed if len(allowed) == cores() else []


def _openmp_team() -> "_Team | None":
    """Return what confines each of so many OpenMP threads of this thread to the cores given for its number.

    None where torch does not use GCC's OpenMP, whose entry point of a parallel region is called here.
    """
    try:
        maps = Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()
        paths = {line.split(maxsplit=5)[-1] for line in maps if "libgomp" in line}
        own = [path for path in paths if Path(path).is_relative_to(Path(torch.__file__).parent)] or sorted(paths)
        library = ctypes.CDLL(own[0]) if len(own) == 1 else None
    except OSError:
        library = None
    if library is None:
        return None

    def confine(count: int, cores_of: Callable[[int], set[int]]) -> None:
        def body(_: object) -> None:
            with suppress(OSError):
                os.sched_setaffinity(0, cores_of(library.omp_get_thread_num()))

        library.GOMP_parallel(ctypes.CFUNCTYPE(None, ctypes.c_void_p)(body), None, count, 0)

    return confine


def synchronise(device: torch.device) -> None:
    """Wait until the device has completed all submitted work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def device_name(device: torch.device) -> str:
    """Return the name of the GPU or processor."""
    if device.type != "cpu":
        return torch.cuda.get_device_name(device) if device.type == "cuda" else "Apple GPU"
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
