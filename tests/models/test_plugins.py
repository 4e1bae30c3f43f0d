"""Variants from a user's own file: known while it is named, and their content part of their runs' identity."""

import sys
from hashlib import sha256

import pytest
import yaml
from support.plugins import HALF, defining, write_plugin

from resdepth.config.keys import run_identity
from resdepth.config.schema import RunConfig
from resdepth.errors import ConfigError
from resdepth.models.plugins import active_plugins, plugin_paths, use_plugins
from resdepth.results.run_directory import describe_differences, load_config, read_config, write_config
from resdepth.sweep.plan import make_plan
from resdepth.variants import VARIANTS


@pytest.fixture(autouse=True)
def _no_plugin_stays():
    yield
    use_plugins([])


def planned(*words):
    (run,) = make_plan([*words], swept=False).runs
    return run


def test_a_plugins_variants_are_known_while_it_is_named(tmp_path):
    path = write_plugin(tmp_path)
    use_plugins([path, path])
    assert list(VARIANTS) == ["plain", "residual", "half"]
    assert VARIANTS["half"].join(1.0, 4.0) == 3.0
    assert plugin_paths(["half"]) == [str(path)]
    assert plugin_paths(["plain"]) == []
    use_plugins([])
    assert list(VARIANTS) == ["plain", "residual"]
    assert active_plugins() == ()


def test_several_plugins_are_used_together_and_an_error_in_one_leaves_things_as_they_were(tmp_path):
    first, second = write_plugin(tmp_path), write_plugin(tmp_path, defining(twice="lambda z, a: 2 * z"), "b.py")
    use_plugins([first, second])
    assert list(VARIANTS) == ["plain", "residual", "half", "twice"]
    with pytest.raises(ConfigError, match="there is a variant half already"):
        use_plugins([first, write_plugin(tmp_path, defining(half="max"), "c.py")])
    assert list(VARIANTS) == ["plain", "residual", "half", "twice"]


def test_a_file_is_executed_once_for_equal_content_and_again_after_a_change(tmp_path):
    counting = "import sys\nsys.plugins_executed = getattr(sys, 'plugins_executed', 0) + 1\n"
    path = write_plugin(tmp_path, counting + HALF)
    use_plugins([path])
    use_plugins([path])
    assert sys.plugins_executed == 1
    path.write_text(counting + HALF.replace("0.5", "0.25"))
    use_plugins([path])
    assert sys.plugins_executed == 2
    assert VARIANTS["half"].join(1.0, 4.0) == 2.0
    del sys.plugins_executed


def test_the_content_of_the_file_is_part_of_the_identity_of_its_variants_runs_alone(tmp_path):
    path = write_plugin(tmp_path)
    before = planned("depth=8", "variant=residual")
    use_plugins([path])
    half, residual = planned("depth=8", "variant=half"), planned("depth=8", "variant=residual")
    digest = sha256(HALF.encode()).hexdigest()
    assert run_identity(half.config)["plugin"] == digest
    assert half.label == f"half-8-s0,plugin={digest[:8]}"
    assert (residual.label, run_identity(residual.config)) == (before.label, run_identity(before.config))
    assert "plugin" not in run_identity(residual.config)
    write_config(tmp_path, half.config)
    assert yaml.safe_load((tmp_path / "config.yaml").read_text())["plugin"] == digest
    assert load_config(tmp_path).variant == "half"
    # The comment changes no number, but how would the program know?
    path.write_text(HALF + "# a comment\n")
    use_plugins([path])
    changed = planned("depth=8", "variant=half")
    assert changed.label != half.label
    assert describe_differences(read_config(tmp_path), changed.config).startswith(f"plugin={digest} there, ")
    with pytest.raises(
        ConfigError, match=f"variant=half: was trained as defined by another file .SHA-256 {digest[:8]}"
    ):
        load_config(tmp_path)


def test_a_variant_can_be_added_to_the_programs_own_table(tmp_path):
    text = "from resdepth.variants import VARIANTS, Variant\nVARIANTS['half'] = Variant(max, has_shortcut=False)\n"
    use_plugins([write_plugin(tmp_path, text)])
    assert list(VARIANTS) == ["plain", "residual", "half"]
    assert RunConfig(variant="half").plugin == sha256(text.encode()).hexdigest()


def test_dataclasses_and_functions_of_the_file_work(tmp_path):
    text = """\
from __future__ import annotations
from dataclasses import dataclass
from resdepth.variants import Variant

@dataclass
class Scaled:
    factor: float

    def __call__(self, z, a):
        return z + self.factor * a

VARIANTS = {f"scaled{i}": Variant(Scaled(i / 10), has_shortcut=True) for i in range(3)}
"""
    use_plugins([write_plugin(tmp_path, text)])
    assert VARIANTS["scaled2"].join(1.0, 10.0) == 3.0
