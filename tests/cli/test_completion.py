"""The shell's completion of keys, values, options of groups, and folders."""

import shutil
import subprocess
import sys

import pytest
from support.commands import ROOT, environment
from support.platforms import posix

from resdepth.config.catalogue import option_files
from resdepth.config.keys import known_keys


def words_of(line):
    """The line as bash splits it: `=` is a word of its own."""
    words = line.replace("=", " = ").split()
    return words if not line.endswith(" ") else [*words, ""]


def completed(line, shell="bash", cwd=ROOT):
    """What the program offers for a line whose end is to be completed."""
    if shell == "bash":
        words = words_of(line)
        asked = {"COMP_WORDS": "\n".join(words), "COMP_CWORD": str(len(words) - 1)}
    else:
        asked = {"_TYPER_COMPLETE_ARGS": line}
    done = subprocess.run(
        [sys.executable, "-m", "resdepth"],
        cwd=cwd, env=environment(_RESDEPTH_COMPLETE=f"complete_{shell}", **asked),
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.stderr == ""
    return done.stdout.split()


def test_the_options_of_a_group_are_completed():
    assert completed("resdepth sweep data=ci") == ["cifar10", "cifar100"]
    assert completed("resdepth sweep data=") == list(option_files("data"))
    assert completed("resdepth train depth=8 experiment=he2015_figure") == ["he2015_figure1", "he2015_figure6"]


def test_the_last_value_of_an_axis_is_completed():
    assert completed("resdepth sweep variant=plain,re") == ["plain,residual"]


def test_keys_are_completed():
    assert completed("resdepth sweep recipe.w") == [f"{key}=" for key in known_keys() if key.startswith("recipe.w")]


def test_a_single_key_is_completed_with_its_values():
    assert completed("resdepth sweep recipe.fl") == ["recipe.flip=", "recipe.flip=true", "recipe.flip=false"]
    assert completed("resdepth sweep recipe.lr") == ["recipe.lr=", "recipe.lr=0.1"]


def test_a_path_is_left_to_the_shell():
    assert completed("resdepth sweep data.path=REA") == []


def test_other_shells_complete_the_whole_word():
    offered = " ".join(completed("resdepth sweep data=ci", shell="zsh"))
    assert "data=cifar10" in offered
    assert "data=cifar100" in offered
    assert "digits" not in offered


def test_what_show_explains_is_completed():
    assert completed("resdepth show he2015_figure") == ["he2015_figure1", "he2015_figure6"]
    assert completed("resdepth show recipe.lr") == ["recipe.lr"]
    assert completed("resdepth show data=ci") == ["cifar10", "cifar100"]


@pytest.mark.parametrize("command", ["plot", "summary"])
def test_folders_are_completed(command, tmp_path):
    for name in ("results/digits/plain-8-s0", "results/mnist", "results/.aside", "other"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "result.csv").touch()
    assert completed(f"resdepth {command} re", cwd=tmp_path) == ["results", "results/digits", "results/mnist"]
    assert completed(f"resdepth {command} results/d", cwd=tmp_path) == ["results/digits", "results/digits/plain-8-s0"]
    assert completed(f"resdepth {command} nowhere/", cwd=tmp_path) == []


def test_a_probes_folder_or_override_is_completed(tmp_path):
    (tmp_path / "recorded").mkdir()
    assert completed("resdepth probe gradients recipe.fl", cwd=tmp_path)[0] == "recipe.flip="
    assert completed("resdepth probe gradients rec", cwd=tmp_path)[0] == "recorded"
    assert completed("resdepth probe decay rec", cwd=tmp_path) == ["recorded"]
    assert completed("resdepth probe learn-identity data=ci", cwd=tmp_path) == ["cifar10", "cifar100"]


def test_an_options_name_of_ones_own_is_completed(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine.yaml").write_text("source: digits\n")
    assert completed(f"resdepth sweep --config-dir {tmp_path} data=mi") == ["mine"]


@posix
@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_bash_takes_the_script_and_asks_the_program(tmp_path):
    program = tmp_path / "resdepth"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m resdepth "$@"\n')
    program.chmod(0o755)
    script = (
        f'PATH="{tmp_path}:$PATH"; eval "$(_RESDEPTH_COMPLETE=source_bash resdepth)"\n'
        "COMP_WORDS=(resdepth sweep data = ci); COMP_CWORD=4; _resdepth_completion resdepth\n"
        'echo "${COMPREPLY[*]}"; complete -p resdepth'
    )
    done = subprocess.run(
        ["bash", "-c", script], env=environment(), capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stdout.splitlines()[0] == "cifar10 cifar100"
    assert "_resdepth_completion resdepth" in done.stdout.splitlines()[-1]


def test_neither_torch_nor_hydra_is_loaded():
    words = {"COMP_WORDS": "resdepth\nsweep\ndata\n=\nci", "COMP_CWORD": "4", "_RESDEPTH_COMPLETE": "complete_bash"}
    code = (
        "import sys; sys.argv = ['resdepth']\n"
        "from resdepth.cli.main import main\n"
        "try:\n    main()\n"
        "finally:\n    print({'torch', 'hydra', 'omegaconf', 'pandas', 'numpy'} & sys.modules.keys())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(**words), capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stdout.split() == ["cifar10", "cifar100", "set()"]
