"""What is printed: durations and estimates."""

import pytest

from resdepth.cli import printing


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(5, "5 s"), (89, "89 s"), (90, "2 min"), (3600, "60 min"), (19_200, "5 h 20 min"), (260_000, "3 days")],
)
def test_durations_are_said_in_words(seconds, words):
    assert printing.duration(seconds) == words


def test_a_sweep_of_hours_says_what_would_be_quicker(capsys):
    printing.print_estimate(50.0, "this machine", on_gpu=False)
    assert "Quicker" not in capsys.readouterr().out
    printing.print_estimate(20_000.0, "a GPU", on_gpu=True)
    assert "device=cuda" not in capsys.readouterr().out
    printing.print_estimate(20_000.0, "this machine", on_gpu=False)
    said = capsys.readouterr().out
    assert "About 5 h 33 min on this machine." in said
    assert all(part in said for part in ("device=cuda", "recipe.epochs=N", "data.limit=N", "data=digits"))
