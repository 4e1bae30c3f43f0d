"""One entry in the table of variants is all that a third variant needs."""

import matplotlib.pyplot as plt
import pytest
from support.runs import TINY

from resdepth.report.comparison import comparisons
from resdepth.report.figures.draw import draw
from resdepth.report.summary import summarise, verdict
from resdepth.results.table import load_results
from resdepth.sweep.jobs.launch import launch
from resdepth.sweep.observer import Observer
from resdepth.sweep.plan import make_plan
from resdepth.sweep.preflight import preflight
from resdepth.variants import VARIANTS, Variant


def test_a_third_variant_is_swept_recorded_drawn_and_summed_up(tmp_path, monkeypatch):
    monkeypatch.setitem(VARIANTS, "half", Variant(lambda z, a: z + 0.5 * a, has_shortcut=True))
    plan = make_plan(["depth=8", "variant=plain,residual,half", f"results={tmp_path}", *TINY])
    assert [o.state for o in launch(preflight(plan), Observer())] == ["finished"] * 3

    table = load_results(tmp_path)
    assert set(table.variant) == {"plain", "residual", "half"}
    losses = table[table.epoch == 2].groupby("variant").train_loss.first()
    assert losses.nunique() == 3
    (comparison,) = comparisons(table)
    for name in ("training", "curves"):
        figure = next(figure for _, stem, figure in draw(table) if stem == name)
        assert [panel.get_title() for panel in figure.axes] == ["plain", "residual", "half"]
    assert set(summarise(comparison).variant) == {"plain", "residual", "half"}
    assert "half: 8 layers train to" in verdict(comparison)
    plt.close("all")


def test_an_unknown_variant_is_named_with_the_known_ones():
    with pytest.raises(Exception, match="variant=half: choose one of plain, residual"):
        make_plan(["variant=half"])
