"""What a display is told."""

from resdepth.results.metrics import EpochRecord
from resdepth.results.outcome import Outcome
from resdepth.sweep.plan import PlannedRun


class Observer:
    """Who is told how the runs go, of which several may be under way. This one says nothing; the others build on it."""

    def on_start(self, run: PlannedRun, epochs_done: int) -> None: ...
    def on_step(self, run: PlannedRun, iteration: int) -> None: ...
    def on_epoch(self, run: PlannedRun, record: EpochRecord) -> None: ...
    def on_end(self, run: PlannedRun, outcome: Outcome, last: EpochRecord | None) -> None: ...
