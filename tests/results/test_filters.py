"""Filters: which runs of a table are kept."""

import pytest
from support.runs import write_run

from resdepth.errors import ConfigError
from resdepth.results.filters import Filters
from resdepth.results.table import load_results


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    for depth in (8, 20, 56):
        write_run(folder, "plain", depth)
        write_run(folder, "residual", depth, lr=0.1)
    write_run(folder, "residual", 20, shortcut="B", seed=3)
    return load_results(folder)


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ([], {"plain 8", "plain 20", "plain 56", "residual 8", "residual 20", "residual 56"}),
        (["depth=20"], {"plain 20", "residual 20"}),
        (["depth=20,56", "variant=plain"], {"plain 20", "plain 56"}),
        (["depth=8", "depth=56", "variant=residual"], {"residual 8", "residual 56"}),
        (["recipe.lr=1e-1"], {"residual 8", "residual 20", "residual 56"}),
        (["seed=3"], {"residual 20"}),
        # Plain nets have no shortcut and are compared with every one.
        (["model.shortcut=B"], {"plain 8", "plain 20", "plain 56", "residual 20"}),
        (["shortcut=B"], {"plain 8", "plain 20", "plain 56", "residual 20"}),
        (["data=digits", "recipe.flip=true", "variant=plain", "depth=8"], {"plain 8"}),
        (["recipe.iterations=null", "depth=8"], {"plain 8", "residual 8"}),
        (["recipe.milestones=[0.5, 0.75]", "depth=8"], {"plain 8", "residual 8"}),
        (["name=exp", "depth=8"], {"plain 8", "residual 8"}),
    ],
)
def test_runs_with_one_of_the_values_of_every_key_are_kept(table, conditions, expected):
    kept = Filters.parse(conditions).apply(table)
    assert {f"{variant} {depth}" for variant, depth in zip(kept.variant, kept.depth, strict=True)} == expected


@pytest.mark.parametrize(
    ("conditions", "message"),
    [
        (["depth"], "depth: lacks a key or a value; write KEY=VALUE, as in recipe.lr=0.1"),
        (["=3"], "=3: lacks a key or a value; write KEY=VALUE, as in recipe.lr=0.1"),
        (["depth=8,"], "depth=8,: lacks a key or a value; write KEY=VALUE, as in recipe.lr=0.1"),
        (["depht=8"], "depht=8: no run has this key; did you mean depth?"),
        (["lr=0.1"], "lr=0.1: no run has this key; did you mean recipe.lr?"),
        (["run=x"], "run=x: no run has this key; resdepth show keys lists them"),
        (["depth=range(8,20)"], "depth=range(8,20): is not a list of values; write them out, as in depth=20,56"),
        (["shortcut=C"], "shortcut=C: no run has this value; there are A, B"),
        (["depth=21"], "depth=21: no run has this value; there are 8, 20, 56"),
        (["variant=plain", "recipe.lr=0.1"], "recipe.lr=0.1: no run has this value; there are 0.02"),
    ],
)
def test_a_condition_that_keeps_no_run_says_what_there_is(table, conditions, message):
    with pytest.raises(ConfigError) as error:
        Filters.parse(conditions).apply(table)
    assert str(error.value) == message


def test_the_label_names_every_condition():
    assert Filters.parse(["depth=20,56", "variant=plain"]).label == "depth=20,56_variant=plain"
    assert Filters.parse([]).label == ""
