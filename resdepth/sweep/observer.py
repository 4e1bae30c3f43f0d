"""The interface through which runs report their progress."""

from __future__ import annotations

from typing import TYPE_CHECKING

from resdepth.results.metrics import EpochRecord
from resdepth.results.outcome import Outcome

if TYPE_CHECKING:
    # A display of figures or tables must not load Hydra.
    from resdepth.sweep.plan import PlannedRun


class Observer:
    """Receives the events of runs, of which several may be active. This base class ignores them."""

    def on_start(self, run: PlannedRun, epochs_done: int) -> None:
        """A run starts or continues after `epochs_done` epochs."""

    def on_step(self, run: PlannedRun, iteration: int) -> None:
        """A training step was submitted to the device."""

    def on_epoch(self, run: PlannedRun, record: EpochRecord) -> None:
        """An epoch's row was written."""

    def on_end(self, run: PlannedRun, outcome: Outcome, last: EpochRecord | None) -> None:
        """A run ended; `last` is its last row, None if it has none."""
