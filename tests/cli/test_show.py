"""`resdepth show`: what there is to choose from, what an option sets, what a key means."""

import subprocess
import sys

import pytest
from support.commands import environment, forked_command

from resdepth.config.catalogue import options
from resdepth.config.keys import known_keys
from resdepth.config.schema import GROUPS
from resdepth.variants import VARIANTS


def shown(*words):
    done = forked_command("show", *words)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_everything_is_listed_with_a_line_each():
    lines = [line.split(maxsplit=1) for line in shown().splitlines() if line.startswith("  ")]
    expected = [[name, option.comment] for group in GROUPS for name, option in options(group).items()]
    assert all(line in lines for line in expected)
    assert {name for name, _ in lines} >= set(VARIANTS)


@pytest.mark.parametrize("key", known_keys())
def test_a_key_is_explained(key):
    head, default, values, changes = shown(key).splitlines()[:4]
    assert head.startswith(f"{key}: ")
    assert [line.split()[0] for line in (default, values, changes)] == ["default", "values", "changes"]


def test_a_key_is_found_by_its_last_part():
    assert shown("lr") == shown("recipe.lr")
    assert "recipe.lr: learning rate\n  default  0.1 (short: 0.02)\n" in shown("lr")


def test_an_experiment_says_what_it_sets_and_sweeps():
    said = shown("experiment=he2015_figure1")
    assert [line.split() for line in said.splitlines()[2:-1]] == [
        ["data", "cifar10"], ["recipe", "cifar10"], ["name", "he2015_figure1"], ["precision", "tf32"],
        ["sweeps", "over"], ["depth", "20,56"], ["variant", "plain"],
    ]  # fmt: skip
    assert said == shown("he2015_figure1")


def test_an_experiment_sweeps_over_the_default_axes_too():
    assert "variant  plain,residual" in shown("experiment=digits_1202")


def test_a_name_in_several_groups_is_explained_in_each():
    said = shown("digits")
    assert all(f"{group}=digits: " in said for group in ("data", "recipe", "experiment"))
    assert "recipe.lr          0.02   from short" in said


def test_a_variant_is_explained_by_its_equation():
    assert "a[l+2] = g(z[l+2] + a[l])" in shown("residual")
    assert "a[l+2] = g(z[l+2] + a[l])" in shown("variants")


def test_options_of_ones_own_are_shown(tmp_path):
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text("# @package _global_\n# Mine.\nname: mine\ndepth: 8\n")
    said = shown("mine", "--config-dir", tmp_path)
    assert said.startswith("experiment=mine: Mine.\n")
    assert "depth  8" in said
    assert "sweeps over\n    variant  plain,residual" in said


def test_neither_torch_nor_hydra_is_loaded():
    code = (
        "import sys; sys.argv = ['resdepth', 'show']\n"
        "from resdepth.cli.main import main\n"
        "try:\n    main()\n"
        "finally:\n    print({'torch', 'hydra', 'omegaconf', 'pandas'} & sys.modules.keys())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stdout.splitlines()[-1] == "set()"
