"""Short measurements."""

import pytest

from resdepth.bench.steps import floors, measure


@pytest.fixture(autouse=True)
def _short(monkeypatch):
    monkeypatch.setattr(measure, "_WINDOWS", 3)
    monkeypatch.setattr(measure, "_WARM_UP", 1)
    monkeypatch.setattr(measure, "_WINDOW_SECONDS", 0.01)
    monkeypatch.setattr(floors, "copy_bandwidth", lambda _: 1e9)
    monkeypatch.setattr(floors, "matrix_rate", lambda *_: 1e9)
