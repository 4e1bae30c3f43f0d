"""resdepth.train: one run from Python, and its table."""

import subprocess
import sys

import pandas as pd
import pytest
from support.commands import environment
from support.images import write_npz
from support.plugins import write_plugin
from support.runs import TINY, metrics

import resdepth
import resdepth.sweep.run
from resdepth.errors import ConfigError, RunError
from resdepth.models.plugins import use_plugins
from resdepth.results.table import load_results
from resdepth.sweep import processes

pytestmark = pytest.mark.usefixtures("elsewhere")
WORDS = ["depth=8", *TINY]


def test_one_run_is_trained_silently_and_its_table_is_returned(tmp_path, capfd, monkeypatch):
    monkeypatch.setattr(processes, "call_in_processes", lambda *_: pytest.fail("a process was started"))
    table = resdepth.train(WORDS)
    assert capfd.readouterr() == ("", "")
    (run,) = (tmp_path / "results" / "digits").iterdir()
    assert run.name == "residual-8-s0,data.limit=128,recipe.epochs=2"
    assert table.epoch.tolist() == [1, 2]
    pd.testing.assert_frame_equal(table, load_results(run))
    assert set(table.state) == {"finished"}


def test_a_finished_run_is_not_trained_again_unless_it_is_restarted(tmp_path, monkeypatch):
    table = resdepth.train(WORDS)
    with monkeypatch.context() as patch:
        patch.setattr(resdepth.sweep.run, "Trainer", lambda *_: pytest.fail("it was trained"))
        pd.testing.assert_frame_equal(resdepth.train(WORDS), table)
    again = resdepth.train(WORDS, restart=True)
    assert again.train_loss.tolist() == table.train_loss.tolist()
    assert again.epoch_seconds.tolist() != table.epoch_seconds.tolist()
    assert len(list((tmp_path / "results" / "digits" / ".aside").iterdir())) == 1


def test_what_is_wrong_is_raised_with_the_line_of_the_command(tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match=r"overrides=depth=8: needs a list, such as \[\"depth=8\"\]"):
        resdepth.train("depth=8")
    with pytest.raises(ConfigError, match="depth=21: a conv net has 6n"):
        resdepth.train(["depth=21"])
    with pytest.raises(ConfigError, match="one run"):
        resdepth.train(["depth=8,14"])
    with pytest.raises(ConfigError, match="--config-dir=nowhere: is not a folder"):
        resdepth.train(WORDS, config_dir="nowhere")
    with pytest.raises(ConfigError, match=r"--plugin=nowhere.py: does not exist"):
        resdepth.train(WORDS, plugins=["nowhere.py"])
    assert not (tmp_path / "results").exists()

    def fails(*_):
        raise RuntimeError("something broke")

    monkeypatch.setattr(resdepth.sweep.run, "Trainer", fails)
    with pytest.raises(RunError, match=r"residual-8-s0.*: failed: RuntimeError: something broke"):
        resdepth.train(WORDS)


def test_recipes_and_variants_of_a_users_own_are_trained(tmp_path):
    (tmp_path / "own" / "recipe").mkdir(parents=True)
    (tmp_path / "own" / "recipe" / "mine.yaml").write_text("defaults: [short]\nepochs: 1\n")
    table = resdepth.train(
        ["depth=8", "recipe=mine", "data.limit=128", "variant=half"], config_dir="own", plugins=write_plugin(tmp_path)
    )
    use_plugins([])
    assert (table["recipe.name"][0], table.variant[0], len(table)) == ("mine", "half", 1)


SCRIPT = """\
import resdepth

print("begin")
table = resdepth.train(["depth=8", "data.limit=128", "recipe.epochs=1", "device=cpu", "variant=plain" ENGINE])
print(len(table))
"""


@pytest.mark.parametrize("engine", ["eager", pytest.param("compiled", marks=pytest.mark.slow)])
def test_a_script_without_a_main_guard_trains_once(tmp_path, engine):
    (tmp_path / "script.py").write_text(SCRIPT.replace(" ENGINE", f', "engine={engine}"'))
    words = [sys.executable, "script.py"]
    done = subprocess.run(
        words, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False, timeout=300
    )
    assert done.stdout == "begin\n1\n", done.stderr
    assert "Error" not in done.stderr
    (run,) = (tmp_path / "results" / "digits").iterdir()
    assert len(metrics(run)) == 1


def test_a_file_of_images_that_changes_between_two_calls_is_read_again(images):
    words = ["depth=8", "data=npz", "data.path=mine.npz", "recipe.epochs=1"]
    write_npz("mine.npz", images)
    first = resdepth.train(words)
    write_npz("mine.npz", {**images, "x_train": images["x_train"] // 2})
    second = resdepth.train(words)
    assert first.run[0] != second.run[0]
    assert first.train_loss[0] != second.train_loss[0]
