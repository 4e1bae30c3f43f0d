"""outcome.json: how a run ended. Absent while it runs and after it was interrupted."""

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path

from resdepth.errors import RecordError
from resdepth.results.files.atomic import atomic_write_text

OUTCOME = "outcome.json"
STATES = ("finished", "diverged", "failed")


@dataclass(frozen=True)
class Outcome:
    """How a run ended: finished, diverged (also a result) or failed, with the reason."""

    state: str
    seconds: float
    message: str = ""

    @property
    def is_result(self) -> bool:
        """Whether the run finished or diverged."""
        return self.state in ("finished", "diverged")


def write_outcome(folder: Path, outcome: Outcome) -> None:
    """Write outcome.json into a run's directory, atomically."""
    atomic_write_text(folder / OUTCOME, json.dumps(asdict(outcome), indent=2) + "\n")


def read_outcome(folder: Path) -> Outcome | None:
    """Read how the run in this folder ended; None without an outcome.json. Raises RecordError for any other file."""
    path = folder / OUTCOME
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise RecordError(f"{path}: cannot be read: {reason}; remove it to continue the run") from error
    try:
        outcome = Outcome(**json.loads(text))
        is_valid = outcome.state in STATES and isinstance(outcome.message, str)
        if not is_valid or not math.isfinite(outcome.seconds):
            raise ValueError(f"it is not the outcome of a run; its state is one of {', '.join(STATES)}")
        return outcome
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise RecordError(f"{path}: cannot be read: {error}; remove it to continue the run") from error
