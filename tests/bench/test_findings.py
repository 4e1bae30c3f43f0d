"""What is said and drawn of measurements."""

from dataclasses import replace

import pytest

from resdepth.bench.figure import draw
from resdepth.bench.findings import findings, line
from resdepth.bench.rows import StepCost
from resdepth.results.files import rows

COST = StepCost(
    device="a GPU", data="cifar10", variant="residual", depth=56, engine="graph", precision="tf32",
    gradient_checkpointing=False, at_once=1, threads=2, batch=128, steps=400, step_ms=2.0, step_ms_low=1.9,
    step_ms_high=2.1, images_per_second=64_000, peak_memory_mib=900, first_step_seconds=3, bytes_floor_ms=0.5,
    operations_floor_ms=0.25, note="",
)  # fmt: skip
NATIVE = replace(COST, options="native_batch_norm=true", step_ms=3.0)


def test_options_are_said_and_compared_with_the_step_without_them():
    assert line(NATIVE).startswith("residual-56, graph, tf32, native_batch_norm=true: 3 ms a step")
    assert findings([COST, NATIVE]) == [
        "residual-56, graph, tf32, native_batch_norm=true: 1.50 of the step without native_batch_norm=true"
    ]


@pytest.mark.parametrize(
    "difference", [{"batch": 64}, {"depth": 20}, {"precision": "bf16"}, {"at_once": 8}, {"engine": "eager"}]
)
def test_options_are_compared_with_nothing_else(difference):
    lines = findings([replace(COST, **difference), NATIVE])
    assert [each for each in lines if "without" in each] == []


def test_what_was_left_out_is_compared_with_nothing():
    assert findings([COST, replace(NATIVE, note="left out")]) == []


def test_each_setting_has_a_line_in_the_figure(tmp_path):
    rows.write(tmp_path / "bench.csv", [COST, replace(COST, depth=20, step_ms=1.0), NATIVE])
    legend = draw(tmp_path / "bench.csv").axes[2].get_legend()
    names = [text.get_text() for text in legend.get_texts()]
    assert "graph, tf32, residual" in names
    assert "graph, tf32, native_batch_norm=true, residual" in names
