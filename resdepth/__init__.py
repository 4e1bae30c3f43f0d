"""resdepth: why do deeper plain networks train worse, and residual ones not? An answer by experiment."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from resdepth.probes.trained import load_data, load_net
    from resdepth.results.table import load_results
    from resdepth.sweep.jobs.launch import train

__all__ = ["__version__", "load_data", "load_net", "load_results", "train"]
__version__ = "0.1.0"
_MODULES = {
    "load_results": "resdepth.results.table",
    "train": "resdepth.sweep.jobs.launch",
    "load_net": "resdepth.probes.trained",
    "load_data": "resdepth.probes.trained",
}


def __getattr__(name: str) -> Any:
    # Loaded when it is asked for: the command line starts without pandas and torch.
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module 'resdepth' has no attribute {name!r}")
