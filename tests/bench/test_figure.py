"""The figure of a benchmark."""

from support.commands import ROOT

from resdepth.bench.figure import draw
from resdepth.report.style import save_figure


def test_drawing_again_changes_no_byte(tmp_path):
    for name in ("a", "b"):
        save_figure(draw(ROOT / "results/bench/amd-epyc-steps/bench.csv"), tmp_path / name, ("png", "svg"))
    assert all((tmp_path / f"a.{s}").read_bytes() == (tmp_path / f"b.{s}").read_bytes() for s in ("png", "svg"))
