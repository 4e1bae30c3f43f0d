"""README's lines for using what was trained do what they say."""

import re
import shlex

import pytest
from support.commands import ROOT, forked_command

README = (ROOT / "README.md").read_text()
SECTION = README.split("## Use what was trained\n")[1].split("\n## ")[0]
USE, PLUGIN = re.findall(r"```python\n(.*?)```", SECTION, re.DOTALL)
COMMANDS = re.findall(r"^    resdepth (.*)$", SECTION, re.MULTILINE)


@pytest.mark.slow
def test_the_lines_of_python_and_of_the_command_line_use_a_trained_net(tmp_path, monkeypatch):
    import numpy as np

    monkeypatch.chdir(tmp_path)
    names = {}
    exec(USE, names)
    assert names["error"] == pytest.approx(names["table"].test_error.iloc[-1], abs=1e-4)
    digits = names["data"].test
    parts = {"x": digits.images[:50, 0].numpy(), "y": digits.labels[:50].numpy()}
    np.savez("mine.npz", **{f"{key}_{split}": part for key, part in parts.items() for split in ("train", "test")})
    whole, limited, other = (command for command in COMMANDS if command.startswith("eval"))
    done = forked_command(*shlex.split(whole), cwd=tmp_path)
    assert f"test error {names['error']:.2f} %" in done.stdout
    for command in (limited, other):
        assert forked_command(*shlex.split(command), cwd=tmp_path).returncode == 0
    (file,) = tmp_path.rglob("evaluations.csv")
    assert [line.split(",")[1:3] for line in file.read_text().splitlines()[1:]] == [
        ["digits", ""], ["digits", "data.limit=100"], ["mine", ""],
    ]  # fmt: skip


@pytest.mark.slow
def test_the_variant_of_the_example_is_trained_drawn_and_summed_up(tmp_path):
    (tmp_path / "my_variants.py").write_text(PLUGIN)
    (command,) = (command for command in COMMANDS if "--plugin" in command)
    # As printed, but for the length.
    done = forked_command(*shlex.split(command), "recipe.epochs=1", "data.limit=128", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    done = forked_command("summary", cwd=tmp_path)
    rows = re.findall(r"^(\w+) +(8|20) ", done.stdout, re.MULTILINE)
    assert sorted(rows) == sorted(
        (variant, depth) for variant in ("plain", "residual", "half") for depth in ("8", "20")
    )
    assert "half: 20 layers train" in done.stdout
    done = forked_command("plot", "--format", "png", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "results/digits/figures/curves.png" in done.stdout


def test_every_column_of_an_evaluation_is_explained():
    from dataclasses import fields

    from resdepth.results.files.evaluations import EvaluationRow

    for column in fields(EvaluationRow):
        assert f"| `{column.name}` | {column.metadata['unit']} | {column.metadata['meaning']} |" in SECTION
