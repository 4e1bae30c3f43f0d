"""What a display is told."""

from resdepth.results.metrics import EpochRecord
from resdepth.results.outcome import Outcome
from resdepth.sweep.plan import PlannedRun


class Observer:
    """Who is told how the runs go, of which several may be under way. This one says nothing; the others build on it."""

    def began(self, run: PlannedRun, epochs_done: int) -> None: ...
    def stepped(self, run: PlannedRun, iteration: int) -> None: ...
    def recorded(self, run: PlannedRun, record: EpochRecord) -> None: ...
    def ended(self, run: PlannedRun, outcome: Outcome, last: EpochRecord | None) -> None: ...
