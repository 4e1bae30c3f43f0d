"""evaluations.csv in a run's directory: what `resdepth eval` found, a row for each of the net's epochs and data set."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from resdepth.results.files.rows import column, read, write

EVALUATIONS = "evaluations.csv"


@dataclass(frozen=True)
class EvaluationRow:
    """Loss and error of a trained net on both splits of a data set, in evaluation mode, without augmentation."""

    epoch: int = column("epochs after which the weights were kept", "epochs")
    dataset: str = column("name of the data set evaluated on")
    data: str = column("its keys that differ from those of the run's own data set, such as data.limit=100")
    content: str = column("SHA-256 of a user's own data; empty for a published data set")
    train_images: int = column("size of the training set", "images")
    train_loss: float = column("mean cross-entropy on the training set", "nats")
    train_error: float = column("error on the training set", "percent")
    test_images: int = column("size of the test set", "images")
    test_loss: float = column("mean cross-entropy on the test set", "nats")
    test_error: float = column("error on the test set", "percent")

    @property
    def key(self) -> tuple[Any, ...]:
        """The columns that say what was evaluated."""
        return self.epoch, self.dataset, self.data, self.content


def read_evaluations(folder: Path) -> list[EvaluationRow]:
    """Read a run's evaluations, none without the file. Raises RecordError."""
    path = folder / EVALUATIONS
    return read(path, EvaluationRow, "fix it, or remove it") if path.exists() else []


def add_evaluation(folder: Path, row: EvaluationRow) -> Path:
    """Write a row into a run's evaluations.csv, in place of an earlier one of the same; return the file."""
    others = [other for other in read_evaluations(folder) if other.key != row.key]
    write(folder / EVALUATIONS, [*others, row])
    return folder / EVALUATIONS
