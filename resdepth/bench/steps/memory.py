"""Peak memory of a block of code on a device."""

import ctypes
import gc
import math
import sys
from pathlib import Path

import torch


class PeakMemory:
    """Measures the peak of memory on the device inside a `with` block, beyond that before: `bytes`, NaN if unknown.

    On CUDA all that PyTorch has reserved counts: its allocations do not contain what a captured graph holds (pytorch
    issue 121932).
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.bytes = math.nan

    def __enter__(self) -> "PeakMemory":
        gc.collect()
        if self._device.type == "cuda":
            # Else the workspaces of streams that have been used before would not count.
            torch._C._cuda_clearCublasWorkspaces()
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self._device)
            self._before = torch.cuda.memory_reserved(self._device)
        elif sys.platform == "linux":
            # Return freed memory to the system, and have the kernel start a new peak.
            ctypes.CDLL(None).malloc_trim(0)
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
            self._before = _resident_bytes("VmRSS")
        return self

    def __exit__(self, *_: object) -> None:
        if self._device.type == "cuda":
            self.bytes = torch.cuda.max_memory_reserved(self._device) - self._before
        elif sys.platform == "linux":
            self.bytes = _resident_bytes("VmHWM") - self._before


def _resident_bytes(kind: str) -> int:
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines())
    return int(lines[kind].split()[0]) * 1024
