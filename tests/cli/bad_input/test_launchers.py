"""Launchers that are plugins of Hydra, on a machine that lacks them."""

import pytest
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins

_SUBMITIT = "hydra/launcher=submitit_slurm: this launcher is not installed; pip install hydra-submitit-launcher (or"
_RAY = "hydra/launcher=ray: this launcher is not installed; pip install hydra-ray-launcher (or resdepth[ray])"


@pytest.fixture
def _no_plugins(monkeypatch):
    Plugins.instance()  # which registers those there are
    for name in ("submitit_slurm", "submitit_local", "ray", "ray_aws"):
        monkeypatch.delitem(ConfigStore.instance().repo["hydra"]["launcher"], f"{name}.yaml", raising=False)


@pytest.mark.usefixtures("_no_plugins")
@pytest.mark.parametrize(
    ("word", "line"), [("submitit_slurm", _SUBMITIT), ("slurm", _SUBMITIT), ("ray", _RAY), ("ray_cluster", _RAY)]
)
def test_a_launcher_that_is_not_installed_is_named_with_its_package(word, line, refuse):
    refuse(None, ("sweep", f"hydra/launcher={word}"), line)
