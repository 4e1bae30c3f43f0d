"""The device: which one, how exactly it computes, and what it is called."""

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from resdepth.errors import ConfigError
from resdepth.host import container_limit, host_bytes


def resolve(name: str) -> torch.device:
    """`auto` is cuda where there is one, else cpu. Raises ConfigError for a device that is not there."""
    has_cuda = torch.cuda.is_available()
    if name == "auto":
        return torch.device("cuda" if has_cuda else "cpu")
    device = torch.device(name)
    # torch keeps the number in a byte: its cuda:999 is number -25.
    number = int(name.partition(":")[2] or 0)
    if device.type == "cuda" and number >= (torch.cuda.device_count() if has_cuda else 0):
        there = f"{torch.cuda.device_count()} of them" if has_cuda else "none"
        raise ConfigError("device", name, f"torch finds no such CUDA device here (there are {there}); say device=auto")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ConfigError("device", name, "torch finds no Apple GPU here; say device=auto")
    return device


def memory_bytes(device: torch.device) -> int:
    """The memory of the device, in use or not."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    return host_bytes()


def require_precision(precision: str, device: torch.device) -> None:
    """Raises ConfigError for a precision that the device does not have. Sets nothing."""
    if precision == "tf32" and device.type != "cuda":
        raise ConfigError("precision", precision, f"is CUDA's; on {device.type} choose fp32 or bf16")


def set_precision(precision: str, device: torch.device) -> None:
    """Set the arithmetic of all layers, deterministic: one configuration and seed gives one CSV.

    Raises ConfigError for a precision that the device does not have.
    """
    require_precision(precision, device)
    # cuDNN convolutions are tf32 unless told otherwise. By torch's older settings: where its newer ones
    # (fp32_precision) are used, torch.compile fails on reading the older (pytorch issue 166387).
    torch.backends.cudnn.allow_tf32 = precision == "tf32"
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")


def free_memory(device: torch.device) -> int:
    """Bytes a program may still take on the device, as far as the system says; a GiB where it does not."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    try:
        lines = Path("/proc/meminfo").read_text(encoding="utf-8").splitlines()
        found = dict(line.split(":", 1) for line in lines)
        available = int(found["MemAvailable"].split()[0]) * 1024
        limit, used = container_limit("memory.max"), container_limit("memory.current")
        return min(available, int(limit[0]) - int(used[0])) if limit and used and limit[0] != "max" else available
    except (OSError, KeyError, ValueError):
        return int(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")) // 2 if hasattr(os, "sysconf") else 2**30


@contextmanager
def threads(count: int | None) -> Iterator[None]:
    """Compute with so many threads on the CPU; None leaves them as they are."""
    before = torch.get_num_threads()
    torch.set_num_threads(count or before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def synchronise(device: torch.device) -> None:
    """Wait until the device has done all it was handed."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def device_name(device: torch.device) -> str:
    """The device in words."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return _processor() if device.type == "cpu" else "Apple GPU"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()
