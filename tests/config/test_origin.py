"""Where each value of a composed configuration comes from."""

from dataclasses import asdict

import pytest
import yaml

from resdepth.config.compose import expand, first_point
from resdepth.config.keys import flatten, known_keys
from resdepth.config.origin import composed_origins, composed_yaml, values_with_origins
from resdepth.config.schema import GROUPS


def origins(*words, swept=True, config_dir=None):
    point = first_point(words, config_dir, swept=swept)
    return {key: (value, origin) for key, value, origin in values_with_origins(point, config_dir)}


def test_every_group_and_key_is_listed_once():
    assert list(origins()) == [*GROUPS, *known_keys()]


def test_the_yaml_is_the_first_points_configuration():
    words = ["experiment=digits_rates", "recipe.momentum=0.8", "seed=4,3"]
    text = composed_yaml(words)
    assert text.startswith("# The first of 120 points of the sweep.\n")
    assert yaml.safe_load(text) == asdict(expand(words).points[0].config)


def test_a_single_point_has_no_heading():
    assert composed_yaml(["depth=8"], swept=False).startswith("depth: 8\n")


@pytest.mark.parametrize(
    ("words", "key", "value", "origin"),
    [
        ("", "recipe.momentum", "0.9", "default"),
        ("", "depth", "20", "axis of config.yaml"),
        ("", "data", "digits", "config.yaml"),
        ("", "recipe", "digits", "the data's"),
        ("", "data.name", "digits", "data=digits"),
        ("", "name", "digits", "config.yaml"),
        ("", "recipe.lr", "0.02", "recipe/short.yaml"),
        ("data=mnist", "recipe.pad", "2", "recipe/mnist.yaml"),
        ("data=mnist", "data", "mnist", "command line"),
        ("experiment=digits_rates", "recipe.lr", "0.002", "axis of experiment/digits_rates.yaml"),
        ("experiment=digits_rates", "recipe.iterations", "null", "recipe.epochs is set"),
        ("experiment=digits_rates", "variant", "plain", "axis of config.yaml"),
        ("experiment=digits_rates", "name", "digits_rates", "experiment/digits_rates.yaml"),
        ("experiment=digits_rates recipe.lr=0.3,0.4", "recipe.lr", "0.3", "command line"),
        ("experiment=digits_1202", "recipe.epochs", "8", "experiment/digits_1202.yaml"),
        ("recipe.iterations=9", "recipe.epochs", "null", "recipe.iterations is set"),
        ("data=npz data.path=flowers.npz", "data.name", "flowers", "name of data.path"),
        ("data=npz data.path=x.npz data.name=y", "data.name", "y", "command line"),
        ("+seed=3", "seed", "3", "command line"),
        ("hydra.sweeper.params.depth='8,14'", "depth", "8", "command line"),
    ],
)
def test_a_value_comes_from(words, key, value, origin):
    assert origins(*words.split())[key] == (value, origin)


def test_a_run_has_no_axis_of_config_yaml():
    assert origins(swept=False)["depth"] == ("20", "default")


def test_a_file_of_ones_own_is_an_origin(tmp_path):
    (tmp_path / "recipe").mkdir()
    (tmp_path / "recipe" / "mine.yaml").write_text("defaults: [short]\nlr: 0.5\n")
    found = origins("recipe=mine", config_dir=tmp_path)
    assert (found["recipe.lr"], found["recipe.pad"]) == (("0.5", "recipe/mine.yaml"), ("0", "recipe/short.yaml"))


@pytest.mark.parametrize("words", ["", "experiment=digits_rates", "data=mnist model=dense recipe.epochs=3"])
def test_what_is_called_a_default_is_the_schemas(words):
    from resdepth.config.schema import RunConfig

    schema = dict(flatten(RunConfig()))
    values = dict(flatten(first_point(words.split()).config))
    unset = [key for key, (_, origin) in origins(*words.split()).items() if origin == "default"]
    assert unset
    assert {key: values[key] for key in unset} == {key: schema[key] for key in unset}


def test_origins_are_printed_in_columns():
    lines = composed_origins(["depth=8"], swept=False).splitlines()
    assert ["depth", "8", "command", "line"] in [line.split() for line in lines]
