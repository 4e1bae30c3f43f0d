"""Which keys identify a run: those with a meaning for its variant and architecture."""

import pytest

from resdepth.config.keys import described_keys, flatten, identity, run_identity, written
from resdepth.config.schema import ModelConfig, RunConfig


@pytest.mark.parametrize(
    ("architecture", "variant", "unused"),
    [
        ("conv", "residual", {"model.widths"}),
        ("dense", "residual", {"model.width", "model.downsample"}),
        ("conv", "plain", {"model.widths", "model.shortcut", "model.zero_init_residual"}),
    ],
)
def test_keys_without_a_meaning_for_a_run_do_not_identify_it(architecture, variant, unused):
    config = RunConfig(variant=variant, model=ModelConfig(architecture=architecture))
    assert identity(config).keys() - run_identity(config).keys() == {*unused, "plugin"}
    assert "keep_weights" not in identity(config)


def test_every_key_has_a_meaning_a_default_and_values():
    assert list(described_keys()) == [key for key, _ in flatten(RunConfig())]
    assert all(key.meaning and key.default and key.values for key in described_keys().values())


def test_the_values_described_are_those_that_are_checked():
    keys = described_keys()
    assert keys["recipe.lr"][1:] == ("learning rate", "0.1", "above 0 and at most 1,000")
    assert keys["data.limit"].values == "from 2 to 1,000,000,000 or null"
    assert keys["model.shortcut"].values == "A, B or C"
    assert keys["recipe.flip"].values == "true or false"


@pytest.mark.parametrize(
    ("value", "text"),
    [(60.0, "60"), (1e-05, "1e-05"), (None, "null"), (True, "true"), ([0.5, 0.75], "[0.5,0.75]"), ("A", "A"), (3, "3")],
)
def test_a_value_is_written_as_an_override_writes_it(value, text):
    assert written(value) == text
