"""`resdepth eval` and `--plugin` as commands."""

import pytest
from support.commands import forked_command
from support.images import write_npz
from support.plugins import write_plugin
from support.runs import TINY

SWEEP = ("sweep", "depth=8", *TINY)


@pytest.fixture
def trained(tmp_path):
    """A folder in which both built-in variants were trained, with weights."""
    assert forked_command(*SWEEP, "-q", "keep_weights=last", cwd=tmp_path).returncode == 0
    return tmp_path


def test_eval_prints_a_line_and_the_file_for_every_run_with_weights(trained):
    assert forked_command("train", "depth=14", "-q", *TINY, cwd=trained).returncode == 0
    done = forked_command("eval", "results", cwd=trained)
    assert done.returncode == 0
    assert done.stderr.startswith(
        "resdepth: results/digits: runs without weights are left out (1); train them with resdepth sweep depth=14"
    )
    lines = done.stdout.splitlines()
    for variant, line, file in zip(("plain", "residual"), lines[::2], lines[1::2], strict=True):
        name = f"{variant}-8-s0,data.limit=128,recipe.epochs=2"
        row = (trained / "results" / "digits" / name / "metrics.csv").read_text().splitlines()[-1]
        error = float(row.split(",")[14])
        assert line.startswith(f"{name}, epoch 2, digits: test error {error:.2f} %, test loss ")
        assert file == f"results/digits/{name}/evaluations.csv"
        assert (trained / file).read_text().count("\n") == 2


def test_eval_goes_on_after_damaged_weights_and_exits_with_1(trained):
    plain = next((trained / "results" / "digits").glob("plain*"))
    (plain / "weights" / "epoch-2.safetensors").write_bytes(b"rubbish")
    done = forked_command("eval", "results", "data.limit=50", cwd=trained)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "epoch-2.safetensors: is not a file of weights" in done.stderr
    assert "epoch 2, digits (data.limit=50): test error " in done.stdout
    assert forked_command("eval", plain, cwd=trained).returncode == 2


def test_eval_goes_on_after_a_run_whose_data_are_gone_and_one_that_cannot_be_read(trained, images):
    write_npz(trained / "mine.npz", images)
    own = ("data=npz", "data.path=mine.npz", "recipe.epochs=1", "keep_weights=last", "name=digits")
    assert forked_command("train", "depth=8", *own, "-q", cwd=trained).returncode == 0
    (trained / "mine.npz").unlink()
    done = forked_command("eval", "results", cwd=trained)
    assert (done.returncode, done.stdout.count("epoch 2, digits: test error")) == (1, 2)
    assert done.stderr == (
        "resdepth: data.path=mine.npz: the data that the net was trained on are not there; name them with data.path=\n"
    )
    next((trained / "results" / "digits").glob("plain*")).joinpath("config.yaml").write_text("depth: [")
    done = forked_command("eval", "results", cwd=trained)
    assert (done.returncode, done.stdout.count("epoch 2, digits: test error")) == (1, 1)
    assert "config.yaml: " in done.stderr.splitlines()[0]


def test_eval_says_once_what_is_wrong_for_every_run(trained):
    done = forked_command("eval", "results", "data.limit=3", cwd=trained)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "resdepth: data.limit=3: leaves a class without an image; use at least 10\n"


def test_a_sweep_with_a_plugin_says_how_to_train_its_variant(tmp_path):
    write_plugin(tmp_path)
    said = "Not among the runs: half; add with variant=plain,residual,half."
    for words in (SWEEP[:2], SWEEP):
        options = ["--dry-run"] if words is not SWEEP else []
        done = forked_command(*words, "--plugin", "my_variants.py", *options, cwd=tmp_path)
        assert said in done.stdout
    done = forked_command(*SWEEP, "variant=plain,half", "--plugin", "my_variants.py", cwd=tmp_path)
    assert "Not among the runs" not in done.stdout
    assert done.returncode == 0
    names = {path.name.partition("-")[0] for path in (tmp_path / "results" / "digits").iterdir()}
    assert names == {"plain", "residual", "half"}


def test_probes_measure_a_users_own_variant(tmp_path):
    write_plugin(tmp_path)
    words = ("probe", "gradients", "depth=8", "variant=residual,half", "data.limit=128", "--format", "png")
    done = forked_command(*words, "--plugin", "my_variants.py", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "half-8 first / last layer's gradient" in done.stdout
    refused = forked_command(*words, cwd=tmp_path)
    assert refused.returncode == 2
    assert refused.stderr.startswith("resdepth: variant=half: choose one of plain, residual; --plugin FILE adds")
