"""The floors of a step, against numbers worked out by hand."""

import pytest
import torch

from resdepth.bench.steps import floors
from resdepth.sweep.plan import make_specs


def test_the_floors_of_resnet_56_are_five_passes_of_136_mb_and_96_gflop():
    (run,) = make_specs(["depth=56", "variant=residual", "data=cifar10", "precision=bf16", "device=cpu"])
    moved, computed = floors.floors(run, torch.device("cpu"))
    assert moved * 1e9 == pytest.approx(5 * 136e6, rel=0.005)
    assert computed * 1e9 == pytest.approx(96.4e9, rel=0.005)


@pytest.mark.parametrize(("device", "calls"), [("cpu", 1), ("cuda", 20)])
def test_on_a_gpu_many_copies_share_the_wait_at_their_end(device, calls, monkeypatch):
    """A call takes 125 microseconds and the wait 10: one call for each wait would read 8 % too long."""
    now, waits = [0.0], []

    def work():
        now[0] += 125e-6

    def synchronise(_):
        waits.append(1)
        now[0] += 10e-6

    monkeypatch.setattr(floors.devices, "synchronise", synchronise)
    monkeypatch.setattr(floors.timeit, "repeat", lambda f, number, repeat: [timed(f, now) for _ in range(repeat)])
    seconds = floors._best_seconds(work, torch.device(device))
    assert seconds == pytest.approx(125e-6 + 10e-6 / calls)
    assert len(waits) == 1 + floors._TRIALS


def timed(function, now):
    before = now[0]
    function()
    return now[0] - before
