"""Peak memory: what a device holds at most inside a block."""

import pytest
import torch
from support.platforms import linux
from support.trainers import CPU, SHORT, on_gpu

from resdepth.bench.steps import memory
from resdepth.bench.steps.memory import PeakMemory
from resdepth.training.timing import begin_epoch


class ReservedMemory:
    """`torch.cuda` as it counts: a captured graph's pool is reserved, but no longer allocated after the capture."""

    def __init__(self):
        self.reserved, self.peak, self.cached, self.workspaces = 100, 0, 30, 20

    def empty_cache(self):
        self.reserved, self.cached = self.reserved - self.cached, 0

    def clear_workspaces(self):
        self.cached, self.workspaces = self.cached + self.workspaces, 0

    def reset_peak_memory_stats(self, device):
        self.peak = self.reserved

    def memory_reserved(self, device):
        return self.reserved

    def max_memory_reserved(self, device):
        return self.peak

    def reserve(self, size):
        from_cache = min(size, self.cached)
        self.cached -= from_cache
        self.reserved += size - from_cache
        self.peak = max(self.peak, self.reserved)


def test_on_cuda_all_that_is_reserved_counts_beyond_what_was_before(monkeypatch):
    cuda = ReservedMemory()
    monkeypatch.setattr(memory.torch, "cuda", cuda)
    monkeypatch.setattr(memory.torch._C, "_cuda_clearCublasWorkspaces", cuda.clear_workspaces, raising=False)
    with PeakMemory(torch.device("cuda")) as peak:
        for _ in range(8):
            cuda.reserve(1000)
    assert peak.bytes == 8000
    # Neither caches nor cuBLAS's workspaces of before hide what is reserved.
    assert cuda.cached == cuda.workspaces == 0


@linux
def test_on_a_cpu_the_process_has_grown_by_what_is_held():
    with PeakMemory(CPU) as peak:
        held = torch.ones(2**26)  # 256 MiB
    assert peak.bytes == pytest.approx(held.nbytes, rel=0.1)


@pytest.mark.gpu
def test_eight_captured_runs_hold_eight_times_the_memory_of_one(measurement):
    sizes = {}
    for count in (1, 8):
        with PeakMemory(torch.device("cuda")) as peak:
            trainers = [on_gpu(depth=56, engine="graph", recipe=SHORT) for _ in range(count)]
            begin_epoch(trainers)
        sizes[count] = peak.bytes / 2**20
        for trainer in trainers:
            trainer.close()
    measurement(f"memory of captured runs of 56 layers: one {sizes[1]:,.0f} MiB, eight {sizes[8]:,.0f} MiB")
    assert 4 * sizes[1] < sizes[8] < 10 * sizes[1]
