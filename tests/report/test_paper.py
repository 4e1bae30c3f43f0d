"""The paper's figures beside ours, where they apply."""

import pytest
from support.runs import one_comparison, write_run

from resdepth.cli.printing import print_summary
from resdepth.report.summary import summarise
from resdepth.results.filters import Filters


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"variant": "residual", "depth": 56}, ("6.97", "6.6 to 7.5 (3)")),
        ({"variant": "residual", "depth": 110}, ("6.61", "6.3 to 7.1 (2)")),
        ({"variant": "plain", "depth": 20}, ("9.7", "9.7 to 10.1 (4)")),
        ({"variant": "plain", "depth": 110}, (">60", "")),
        ({"variant": "residual", "depth": 26}, ("", "")),
        ({"variant": "residual", "depth": 56, "state": "failed"}, ("", "")),
        ({"variant": "residual", "depth": 56, "shortcut": "B"}, ("", "")),
        ({"variant": "residual", "depth": 56, "iterations": 1000}, ("", "")),
        ({"variant": "residual", "depth": 56, "dataset": "cifar100"}, ("", "")),
        ({"variant": "residual", "depth": 56, "lr": 0.05}, ("", "")),
        ({"variant": "residual", "depth": 56, "width": 32}, ("", "")),
        ({"variant": "residual", "depth": 56, "limit": 500}, ("", "")),
        ({"variant": "residual", "depth": 56, "precision": "bf16"}, ("6.97", "6.6 to 7.5 (3)")),
    ],
)
def test_the_papers_figure_stands_beside_ours_where_it_applies(tmp_path, keys, expected):
    write_run(tmp_path, **{"dataset": "cifar10", "lr": 0.1, "epochs": None, "iterations": 64_000, **keys})
    (row,) = summarise(one_comparison(tmp_path)).to_dict("records")
    assert (row["paper_test_error"], row["reproduced_test_error"]) == expected


def test_a_depth_without_a_published_error_has_empty_cells_beside_one_that_has_one(tmp_path, capsys):
    for depth in (20, 26):
        write_run(tmp_path, "residual", depth, dataset="cifar10", lr=0.1, epochs=None, iterations=64_000)
    table = summarise(one_comparison(tmp_path))
    assert table.paper_test_error.tolist() == ["8.75", ""]
    assert table.reproduced_test_error.tolist() == ["8.0 to 8.5 (3)", ""]
    print_summary([tmp_path], Filters({}), None)
    assert "nan" not in capsys.readouterr().out
