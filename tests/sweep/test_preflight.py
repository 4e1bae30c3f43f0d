"""What would fail, and how long it takes, known before the first run."""

from pathlib import Path

import pytest
from support.runs import execute_here

import resdepth.sweep.preflight
import resdepth.sweep.run
from resdepth.errors import ConfigError
from resdepth.sweep.plan import make_plan
from resdepth.sweep.preflight import estimate_seconds, preflight

pytestmark = pytest.mark.usefixtures("elsewhere")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("device=cuda:99", r"device=cuda:99: torch finds no such CUDA device"),
        ("device=cpu precision=tf32", r"precision=tf32: needs a CUDA device; on cpu use fp32 or bf16"),
        (
            "results=/dev/null/x",
            r"results=/dev/null/x: /dev/null/x/digits cannot be written to \(Not a directory\); set results=FOLDER",
        ),
        ("data.validation=2000", r"data.validation=2000: leaves fewer than 2 training images"),
    ],
)
def test_what_only_device_or_data_can_tell_is_found_before_the_first_run(words, message):
    with pytest.raises(ConfigError, match=message):
        execute_here("depth=8", *words.split())
    assert not list(Path().iterdir())


def test_the_estimate_grows_with_depth_and_length(monkeypatch):
    monkeypatch.setattr(resdepth.sweep.preflight, "_step_seconds", lambda _: 0.01)

    def seconds(*words):
        return estimate_seconds(preflight(make_plan(["variant=plain", "device=cpu", *words])))

    assert seconds("depth=8") == pytest.approx(0.01 * 12 * 20)
    assert seconds("depth=8", "recipe.epochs=2000") == pytest.approx(1 * 12 * 20)
    assert seconds("depth=8,8", "seed=0,1") == pytest.approx(2 * seconds("depth=8"))
    assert seconds("depth=56") == pytest.approx(10.5 * seconds("depth=8"), rel=0.01)


def test_the_estimate_is_timed_on_the_device():
    assert 0 < estimate_seconds(preflight(make_plan(["depth=8", "device=cpu"]))) < 3600
