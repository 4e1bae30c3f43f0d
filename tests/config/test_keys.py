"""Which keys identify a run: those with a meaning for its variant and architecture."""

import pytest

from resdepth.config.keys import identity, run_identity
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
    assert identity(config).keys() - run_identity(config).keys() == unused
    assert "keep_weights" not in identity(config)
