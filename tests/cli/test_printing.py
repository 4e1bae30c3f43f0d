"""What is printed: durations and estimates."""

import pytest
from support.runs import TINY, train_here
from typer.testing import CliRunner

from resdepth.cli import plans, printing
from resdepth.cli.app import app
from resdepth.sweep import groups
from resdepth.sweep.plan import make_plan


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(5, "5 s"), (89, "89 s"), (90, "2 min"), (3600, "60 min"), (19_200, "5 h 20 min"), (260_000, "3 days")],
)
def test_durations_are_said_in_words(seconds, words):
    assert printing.duration(seconds) == words


def test_a_sweep_of_hours_says_what_would_be_quicker(capsys):
    plans.print_estimate(50.0, "this machine", on_gpu=False)
    assert "Quicker" not in capsys.readouterr().out
    plans.print_estimate(20_000.0, "a GPU", on_gpu=True)
    assert "device=cuda" not in capsys.readouterr().out
    plans.print_estimate(20_000.0, "this machine", on_gpu=False)
    said = capsys.readouterr().out
    assert "About 5 h 33 min on this machine." in said
    assert all(part in said for part in ("device=cuda", "recipe.epochs=N", "data.limit=N", "data=digits"))


@pytest.mark.usefixtures("elsewhere")
def test_a_sweep_that_the_memory_slows_down_says_so_at_its_start(monkeypatch):
    monkeypatch.setattr(groups, "cores", lambda: 2)
    monkeypatch.setattr(groups.devices, "free_memory", lambda _: 1)
    words = ["sweep", "depth=8", "variant=plain", "seed=0,1", "recipe.epochs=1", "data.limit=64", "device=cpu"]
    result = CliRunner().invoke(app, words)
    assert "1 run at once instead of 2: the free memory is too small for more.\n" in result.output, result.output


@pytest.mark.parametrize(
    ("words", "is_said"),
    [((), False), (("engine=compiled",), True), (("engine=compiled", "gradient_checkpointing=true"), False)],
)
def test_a_compilation_is_announced(words, is_said, capsys, tmp_path):
    plans.announce(make_plan(["depth=8", "device=cpu", f"results={tmp_path}", *words]))
    assert ("compiled first" in capsys.readouterr().out) == is_said


@pytest.mark.usefixtures("elsewhere")
def test_the_figures_of_several_experiments_are_drawn_one_by_one(capsys):
    words = ("depth=8", "variant=plain", "data.name=a,b", "results=the results", *TINY)
    train_here(*words)
    printing.print_results(make_plan(words))
    (said,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("To draw")]
    assert said == "To draw the figures: resdepth plot 'the results/a' && resdepth plot 'the results/b'"
