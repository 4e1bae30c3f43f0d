"""Two lower bounds of a training step's time: by memory bandwidth and by matrix rate, both measured."""

import timeit
from collections.abc import Callable
from functools import cache

import torch

from resdepth import device as devices
from resdepth.models.size import layer_outputs
from resdepth.sweep.plan import RunSpec

# Passes over the convolutions' outputs: written and read forward; read, gradient written and read backward.
_PASSES = 5
# Operations per multiply-add of a forward pass: multiplication and addition, forward and for both gradients.
_OPERATIONS = 6
# Trials, of which the fastest counts, and calls of each: on a GPU the wait at the end is a tenth of a single copy.
_TRIALS = 10
_CALLS, _CALLS_ON_CPU = 20, 1


def floors(spec: RunSpec, device: torch.device) -> tuple[float, float]:
    """Return the seconds of one step at the device's copy bandwidth, and at its matrix rate."""
    c, s, batch = spec.config, spec.shape, spec.schedule.batch_size
    size = 2 if c.precision == "bf16" else 4
    moved = _PASSES * size * batch * layer_outputs(c.depth, c.model, s.image)
    computed = _OPERATIONS * batch * spec.multiply_adds
    return moved / copy_bandwidth(device), computed / matrix_rate(device, c.precision)


@cache
def copy_bandwidth(device: torch.device) -> float:
    """Measure the bytes per second, read and written, of copying an array larger than any cache; the best of ten."""
    source = torch.rand((64 if device.type == "cpu" else 256) * 2**20 // 4, device=device)
    target = torch.empty_like(source)
    return 2 * 4 * len(source) / _best_seconds(lambda: target.copy_(source), device)


@cache
def matrix_rate(device: torch.device, precision: str) -> float:
    """Measure the operations per second of multiplying large matrices in this precision; the best of ten."""
    devices.set_precision(precision, device)
    size = 2048 if device.type == "cpu" else 8192
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    a, b = (torch.rand((size, size), device=device, dtype=dtype) for _ in range(2))
    return 2 * size**3 / _best_seconds(lambda: torch.mm(a, b), device)


def _best_seconds(work: Callable[[], object], device: torch.device) -> float:
    calls = _CALLS_ON_CPU if device.type == "cpu" else _CALLS

    def complete_work() -> None:
        for _ in range(calls):
            work()
        devices.synchronise(device)

    devices.synchronise(device)
    return min(timeit.repeat(complete_work, number=1, repeat=_TRIALS)) / calls
