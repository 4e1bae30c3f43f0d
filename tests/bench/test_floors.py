"""The floors of a step, against numbers worked out by hand."""

import pytest
import torch

from resdepth.bench import floors
from resdepth.sweep.plan import make_specs


def test_the_floors_of_resnet_56_are_five_passes_of_136_mb_and_96_gflop():
    (run,) = make_specs(["depth=56", "variant=residual", "data=cifar10", "precision=bf16", "device=cpu"])
    moved, computed = floors.floors(run, torch.device("cpu"))
    assert moved * 1e9 == pytest.approx(5 * 136e6, rel=0.005)
    assert computed * 1e9 == pytest.approx(96.4e9, rel=0.005)
