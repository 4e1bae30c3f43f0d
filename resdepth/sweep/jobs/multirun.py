"""Numbered jobs through Hydra's launcher, whichever the command line chose: the only place that starts them."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from hydra.plugins.sweeper import Sweeper
from omegaconf.errors import OmegaConfBaseException

from resdepth.config.compose import initialized_hydra
from resdepth.config.hydra_errors import one_line_errors
from resdepth.config.overrides import quoted
from resdepth.errors import ResdepthError, RunError

_AGAIN = "run the same command again: finished runs are kept, interrupted ones are continued"
# Hydra's own files contain absolute paths, and its log repeats ours.
_SILENT = ("hydra/job_logging=none", "hydra/hydra_logging=none", "hydra.output_subdir=null", "hydra.mode=MULTIRUN")


@dataclass
class _JobConfig:
    """The configuration of a launcher's job: its number."""

    job: int = 0


def multirun(
    task: Callable[[Any], Any], count: int, folder: Path, overrides: Sequence[str], config_dir: Path | None
) -> list[Any]:
    """Call the task for jobs 0 to `count` - 1, with a configuration whose `job` is the number; return what it returns.

    Hydra's own files go to `folder`, which every machine sees; `overrides` choose the launcher. Raises RunError where
    the launcher fails, from the launcher's own exception.
    """
    ConfigStore.instance().store("launch", _JobConfig)
    place = quoted(str(folder))
    # The runs' directories are relative to this process's folder, so a job must not change its own.
    fixed = (f"hydra.sweep.dir={place}", "hydra.sweep.subdir=.", "hydra.job.chdir=false", f"job=range({count})")
    with initialized_hydra(config_dir) as loader, one_line_errors(loader, overrides):
        hydra = GlobalHydra.instance().hydra
        assert hydra is not None
        try:
            with _jobs_unchecked():
                words = [*_SILENT, *overrides, *fixed]
                batches = hydra.multirun(config_name="launch", task_function=task, overrides=words)
        except (ResdepthError, HydraException, OmegaConfBaseException):
            raise
        except Exception as error:
            # An exception of a run is an outcome, so this is the launcher's: a worker was killed, for example.
            line = (str(error).strip().splitlines() or [""])[0]
            raise RunError(f"the launcher failed ({type(error).__name__}: {line}); {_AGAIN}") from error
    return [job.return_value for batch in batches for job in batch]


@contextmanager
def _jobs_unchecked() -> Iterator[None]:
    """Keep Hydra from composing every job before the first: they differ in a number, and thousands take minutes."""
    check = Sweeper.validate_batch_is_legal
    Sweeper.validate_batch_is_legal = lambda *_: None  # type: ignore[method-assign]
    try:
        yield
    finally:
        Sweeper.validate_batch_is_legal = check  # type: ignore[method-assign]
