"""Loss and error of trained nets: what `resdepth eval` does."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from resdepth import device as devices
from resdepth.config.checks import expand_path
from resdepth.config.schema import RunConfig
from resdepth.errors import ConfigError, ResdepthError
from resdepth.probes.selection import kept_weights, left_out
from resdepth.probes.trained import choose_data, device_data, has_diverged, load_trained, missing_weights
from resdepth.results import checkpoint
from resdepth.results.files.evaluations import EvaluationRow, add_evaluation, read_evaluations
from resdepth.results.run_directory import load_config, run_folders
from resdepth.training.cuda import Stream
from resdepth.training.engine import choose_memory_format
from resdepth.training.evaluation import Evaluation


@dataclass(frozen=True)
class Evaluated:
    """A run that was evaluated: its folder, its row in evaluations.csv, that file."""

    folder: Path
    row: EvaluationRow
    file: Path


def select_runs(root: Path) -> tuple[list[tuple[Path, RunConfig]], list[str]]:
    """Return the runs at or below a folder that have weights, and lines on the others.

    Raises ConfigError or RecordError where there is none.
    """
    folders = sorted(run_folders(expand_path("results", str(root))), key=lambda folder: folder.parts)
    runs: list[tuple[Path, RunConfig]] = []
    unread: list[str] = []
    for folder in folders:
        try:
            runs.append((folder, load_config(folder)))
        except ResdepthError as error:
            if len(folders) == 1:
                raise
            unread.append(str(error))
    if not runs:
        remedy = "contains no runs; name a run's folder, or a folder of runs, such as results/digits"
        raise ConfigError("results", root, "; ".join(unread) or remedy)
    trained = [(f, c) for f, c in runs if kept_weights(f) or (f / checkpoint.CHECKPOINT).exists()]
    lacking = {f: c for f, c in runs if (f, c) not in trained}
    if len(runs) == len(lacking) == 1:
        raise ConfigError("results", runs[0][0], missing_weights(*runs[0]))
    diverged = {f: c for f, c in lacking.items() if has_diverged(f)}
    problems = [*unread, *(f"{folder}: {missing_weights(folder, config)}" for folder, config in diverged.items())]
    problems += left_out({f: c for f, c in lacking.items() if f not in diverged}, "last")
    if not trained:
        raise ConfigError("results", root, problems[-1].partition(": ")[2])
    return trained, problems


def evaluate(
    folder: Path, config: RunConfig, overrides: Sequence[str] = (), config_dir: Path | None = None
) -> Evaluated:
    """Measure loss and error of a run's net on both splits of a data set, in float32; write them to evaluations.csv.

    `overrides` may set `device`, and choose another data set than the run's own. Raises ConfigError, DataError,
    RecordError, RunError.
    """
    read_evaluations(folder)  # a damaged file is found before the work is done
    places = [word.partition("=")[2] for word in overrides if word.startswith("device=")]
    words = [word for word in overrides if not word.startswith("device=")]
    device = devices.resolve(replace(config, device=(places or ["auto"])[-1]).device)
    devices.set_precision("fp32", device)
    target = choose_data(config.data, config.recipe.normalise, words, config_dir)
    net, epoch = load_trained(folder, config)
    data = device_data(target, device)
    net.memory_format = choose_memory_format("auto", "fp32", device)
    net = net.to(device, memory_format=net.memory_format)  # type: ignore[call-overload]
    found, stream = {}, Stream(device)
    with devices.threads(None, pinned=device.type == "cpu"):
        for split in ("train", "test"):
            evaluation = Evaluation(net, data, split, stream, is_captured=False)
            evaluation.start()
            found[split] = evaluation.result()
    row = EvaluationRow(
        epoch, target.data.name, target.differences, target.data.fingerprint,
        len(data.train), *found["train"], len(data.test), *found["test"],
    )  # fmt: skip
    return Evaluated(folder, row, add_evaluation(folder, row))
