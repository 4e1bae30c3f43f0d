"""The options of the groups as their YAML files state them, without Hydra, agree with what Hydra composes."""

from pathlib import Path

import pytest

from resdepth.config.catalogue import default_sweep, explained_keys, lineage, option_files, options
from resdepth.config.compose import expand
from resdepth.config.keys import flatten, known_keys, written
from resdepth.config.schema import GROUPS
from resdepth.errors import ConfigError

RECIPES = list(option_files("recipe"))


@pytest.mark.parametrize("group", GROUPS)
def test_every_option_is_explained_in_one_line(group):
    assert all(o.comment and "\n" not in o.comment and "@package" not in o.comment for o in options(group).values())


@pytest.mark.parametrize("recipe", RECIPES)
def test_what_a_recipe_sets_is_what_hydra_composes(recipe):
    (point,) = expand([f"recipe={recipe}"], swept=False).points
    composed = dict(flatten(point.config))
    set_here = {key: value for part in lineage("recipe", recipe) for key, value in part.values.items()}
    assert {key: composed[key] for key in set_here} == set_here


def number_or_text(value):
    try:
        return float(value) if not isinstance(value, bool) else written(value)
    except ValueError:
        return value


@pytest.mark.parametrize("experiment", option_files("experiment"))
def test_an_experiments_axes_and_values_are_what_hydra_composes(experiment):
    option = options("experiment")[experiment]
    points = [dict(flatten(point.config)) for point in expand([f"experiment={experiment}"]).points]
    axes = {key: axis for key, axis in default_sweep().axes.items() if key not in option.values} | option.axes
    for key, axis in axes.items():
        assert {number_or_text(value) for value in axis.split(",")} == {number_or_text(p[key]) for p in points}
    plain = {key: value for key, value in option.values.items() if key not in GROUPS and "$" not in str(value)}
    for key, value in plain.items():
        assert {str(point[key]) for point in points} == {str(value)}
    assert all(key in known_keys() or key in GROUPS for key in (*option.values, *option.axes))


def test_defaults_name_the_options_that_set_another_value():
    found = {key.name: key.default for key in explained_keys()}
    assert found["recipe.lr"] == "0.1 (short: 0.02)"
    assert found["recipe.pad"] == "4 (fashion_mnist, mnist: 2; short: 0)"
    assert found["depth"] == "20 (sweep: 20,56,110)"
    assert found["recipe"] == "that of the data"


def test_a_file_of_ones_own_is_read_and_replaces_one_of_the_same_name(tmp_path):
    (tmp_path / "recipe").mkdir()
    (tmp_path / "recipe" / "mine.yaml").write_text("# Faster.\n# Much.\ndefaults: [short]\nlr: 0.5\n# not of it\n")
    (tmp_path / "recipe" / "short.yaml").write_text("# Shorter.\nepochs: 2\n")
    short, mine = lineage("recipe", "mine", tmp_path)
    assert (mine.comment, mine.values) == ("Faster. Much.", {"recipe.lr": 0.5})
    assert short.values == {"recipe.epochs": 2}
    assert "mine" not in options("recipe")


@pytest.mark.parametrize("text", ["a: [1\n", "- 1\n", "just text\n", "defaults: 3\n"])
def test_a_file_that_is_no_mapping_is_named(tmp_path, text):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "odd.yaml").write_text(text)
    with pytest.raises(ConfigError, match=r"--config-dir=.*odd\.yaml: cannot be read as YAML"):
        options("data", tmp_path)


def test_options_that_build_on_each_other_end(tmp_path):
    (tmp_path / "recipe").mkdir()
    for name, base in (("a", "b"), ("b", "a")):
        (tmp_path / "recipe" / f"{name}.yaml").write_text(f"defaults: [{base}]\n")
    assert [option.name for option in lineage("recipe", "a", tmp_path)] == ["b", "a"]


def test_a_folder_of_ones_own_may_be_in_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mine" / "recipe").mkdir(parents=True)
    (tmp_path / "mine" / "recipe" / "gentle.yaml").write_text("# Gentle.\ndefaults: [short]\nlr: 0.001\n")
    folder = Path("~/mine")
    assert options("recipe", folder)["gentle"].comment == "Gentle."
    (point,) = expand(["recipe=gentle"], folder, swept=False).points
    assert point.config.recipe.lr == 0.001
