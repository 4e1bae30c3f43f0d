"""The tables of bad input as a whole."""

import sys
from pathlib import Path

import pytest
from support.bad_input import COLLECTED


def test_the_table_has_every_command_and_no_case_twice():
    files = {str(path) for path in Path(__file__).parent.glob("test_*.py")}
    if not files <= {getattr(module, "__file__", None) for module in list(sys.modules.values())}:
        pytest.skip("counts the tables of the whole folder; run tests/cli/bad_input")
    assert len(COLLECTED) > 400
    assert {words[0] for _, words, _ in COLLECTED if words} >= {"sweep", "train", "plot", "summary"}
    pairs = [(prepare, tuple(words)) for prepare, words, _ in COLLECTED]
    assert len(set(pairs)) == len(pairs)
