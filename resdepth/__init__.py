"""resdepth: why do deeper plain networks train worse, and residual ones not? An answer by experiment."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from resdepth.results.table import load_results

__all__ = ["__version__", "load_results"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    # Loaded when it is asked for: the command line starts without pandas.
    if name == "load_results":
        from resdepth.results.table import load_results

        return load_results
    raise AttributeError(f"module 'resdepth' has no attribute {name!r}")
