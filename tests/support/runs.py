"""Train small runs in this process, and read or write what runs leave."""

import math
from dataclasses import replace

from resdepth.config.schema import DataConfig, ModelConfig, RecipeConfig, RunConfig
from resdepth.report.comparison import comparisons
from resdepth.results import run_directory
from resdepth.results.metrics import SCHEMA_VERSION, EpochRecord, read_rows, to_row, write_rows
from resdepth.results.outcome import Outcome, write_outcome
from resdepth.results.table import load_results
from resdepth.sweep.jobs.launch import launch
from resdepth.sweep.observer import Observer
from resdepth.sweep.plan import make_plan
from resdepth.sweep.preflight import preflight
from resdepth.sweep.run import train_run

TINY = ("recipe.epochs=2", "data.limit=128", "device=cpu")


def train_here(*overrides) -> list[Outcome]:
    """Train a plan in this process, without Hydra's launcher."""
    return [train_run(planned, Observer()) for planned in make_plan(overrides).pending]


def rows(records):
    """Records as text, but for the time."""
    return [to_row(replace(record, epoch_seconds=0.0)) for record in records]


def metrics(folder):
    return rows(read_rows(folder / "metrics.csv"))


class StopAfter(Observer):
    """Breaks a run off as Ctrl-C would, after so many epochs."""

    def __init__(self, epochs):
        self.left = epochs

    def on_epoch(self, run, record):
        self.left -= 1
        if not self.left:
            raise KeyboardInterrupt


def all_rows(folder):
    return {path.parent.name: rows(read_rows(path)) for path in sorted(folder.rglob("metrics.csv"))}


def sweep_rows(folder, *words):
    outcomes = launch(preflight(make_plan([*words, f"results={folder}"])), Observer())
    assert {o.state for o in outcomes} == {"finished"}
    return all_rows(folder)


class Order(Observer):
    def __init__(self):
        self.heard = []

    def on_start(self, run, epochs_done):
        self.heard.append(("on_start", run.config.depth))

    def on_epoch(self, run, record):
        self.heard.append(("on_epoch", run.config.depth, record.epoch))

    def on_end(self, run, outcome, last):
        self.heard.append(("on_end", run.config.depth, outcome.state, last and last.epoch))


def write_run(results, variant="plain", depth=20, seed=0, train_error=1.0, test_error=2.0, **keys):
    """A finished run of two epochs with these final errors, as the program would have left it."""
    lr, shortcut = keys.get("lr", 0.02), keys.get("shortcut", "A")
    dataset, epochs = keys.get("dataset", "digits"), keys.get("epochs", 2)
    length = {"epochs": epochs, "iterations": keys.get("iterations")}
    config = RunConfig(
        depth=depth, variant=variant, seed=seed, name=keys.get("name", "exp"), results=str(results),
        precision=keys.get("precision", "fp32"), data=DataConfig(name=dataset, limit=keys.get("limit")),
        model=ModelConfig(name="conv", shortcut=shortcut, width=keys.get("width", 16)),
        recipe=RecipeConfig(name=keys.get("recipe", dataset), lr=lr, **length),
    )  # fmt: skip
    defaults = {"recipe.lr": 0.02, "model.shortcut": "A"}
    given = {"recipe.lr": lr, "model.shortcut": shortcut}
    folder = run_directory.run_path(config, [(k, v) for k, v in given.items() if v != defaults[k]])
    folder.mkdir(parents=True)
    run_directory.write_config(folder, config)
    row = EpochRecord(
        SCHEMA_VERSION, dataset, "conv", variant, depth, config.shortcut, seed, 1, 12, lr, 2.0, 50.0, float("nan"),
        2.0, 60.0, 0.5,
    )  # fmt: skip
    last = replace(row, epoch=2, iteration=24, train_error=train_error, test_error=test_error)
    write_rows(folder / "metrics.csv", [row, last])
    write_outcome(folder, Outcome(keys.get("state", "finished"), 1.0))
    return folder


def one_comparison(results):
    (comparison,) = comparisons(load_results(results))
    return comparison


RECORD = EpochRecord(
    schema_version=1, dataset="digits", model="conv", variant="plain", depth=20, shortcut="none", seed=0, epoch=1,
    iteration=12, lr=0.02, train_loss=2.25, train_error=61.5, train_error_clean=math.nan, test_loss=math.nan,
    test_error=math.nan, epoch_seconds=0.5,
)  # fmt: skip


def execute_here(*words):
    return launch(preflight(make_plan(words)), Observer())
