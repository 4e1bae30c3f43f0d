"""The interface through which runs report their progress."""

from __future__ import annotations

from typing import TYPE_CHECKING

from resdepth.results.metrics import EpochRecord
from resdepth.results.outcome import Outcome

if TYPE_CHECKING:
    # A display of figures or tables must not load Hydra.
    from resdepth.sweep.plan import PlannedRun


class Observer:
    """Receives the events of runs, of which several may be active; this base class ignores them.

    A run starts, or continues after `epochs_done` epochs; a step was submitted to the device; an epoch's row was
    written; a run ended, with its last row if it has one. On a cluster: how many jobs run and wait, in words.
    """

    def on_start(self, run: PlannedRun, epochs_done: int) -> None: ...
    def on_step(self, run: PlannedRun, iteration: int) -> None: ...
    def on_epoch(self, run: PlannedRun, record: EpochRecord) -> None: ...
    def on_end(self, run: PlannedRun, outcome: Outcome, last: EpochRecord | None) -> None: ...
    def on_wait(self, jobs: str) -> None: ...
