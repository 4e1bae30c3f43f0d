"""Fixtures and hooks for every test. Heavy imports stay inside them: pytest-xdist's first process needs none."""

import gc
import os
from pathlib import Path

import numpy as np
import pytest

pytest.register_assert_rewrite("support")

# One thread, set before torch is loaded: faster for nets this small, and the tests do not wait for each other's cores.
os.environ["OMP_NUM_THREADS"] = "1"


def pytest_collection_modifyitems(items):
    import torch

    on_gpu = [item for item in items if "gpu" in item.keywords]
    if not torch.cuda.is_available():
        skip = pytest.mark.skip(reason="needs a CUDA device; run `make test` where there is one")
        for item in on_gpu:
            item.add_marker(skip)
    items[:] = sorted(on_gpu, key=_rank_on_gpu) + [item for item in items if "gpu" not in item.keywords]


def _rank_on_gpu(item):
    """Whether the step is right comes first; what measures later, and last the profiler, which slows what follows."""
    measures = "measurement" in item.fixturenames
    rooms = ("sweep", "bench", "training") if measures else ("training", "sweep", "probes")
    return measures, rooms.index(item.path.parent.name)


def pytest_collection_finish(session):
    grouped = [item for item in session.items if item.get_closest_marker("xdist_group")]
    if getattr(session.config.option, "loadgroup", False) and not all("@" in item.nodeid for item in grouped):
        # pytest-xdist 3.8 with pytest 9.2 does so silently: https://github.com/pytest-dev/pytest-xdist/issues/1386
        raise pytest.UsageError("pytest-xdist ignores the groups of tests; install the versions of pyproject.toml")
    # What is imported stays: the garbage collector need not look through it again.
    gc.collect()
    gc.freeze()


@pytest.fixture
def measurement(record_property):
    """Note a line of the list of measurements, which is printed at the end: what only a GPU can tell."""
    return lambda line: record_property("measurement", line)


def pytest_configure(config):
    config.pluginmanager.register(_Measurements(config), "measurements")


class _Measurements:
    """Prints measurements and failures on a GPU as they come: a run of the tests may be stopped before its end."""

    def __init__(self, config):
        self._config = config

    def pytest_runtest_logreport(self, report):
        reporter = self._config.pluginmanager.getplugin("terminalreporter")
        for name, value in report.user_properties:
            if name == "measurement" and report.when == "call" and reporter:
                reporter.ensure_newline()
                reporter.write_line(f"measured: {value}")
        if report.failed and "gpu" in report.keywords and reporter:
            reporter.ensure_newline()
            reporter.write_line(report.longreprtext)


def pytest_terminal_summary(terminalreporter):
    reports = [report for kind in ("passed", "failed") for report in terminalreporter.stats.get(kind, ())]
    lines = [value for report in reports for name, value in report.user_properties if name == "measurement"]
    if lines:
        import torch

        device = torch.cuda.get_device_name() if torch.cuda.is_available() else "a CPU"
        terminalreporter.section(f"measurements on {device}")
        for line in lines:
            terminalreporter.write_line(line)


def pytest_sessionfinish():
    gc.unfreeze()  # or nanobind calls it a leak


@pytest.fixture(scope="session", autouse=True)
def _no_test_writes_into_the_checkouts_results():
    folder = Path(__file__).resolve().parents[1] / "results"
    before = set(folder.glob("*/*"))
    yield
    assert set(folder.glob("*/*")) <= before, "a test wrote into the checkout: let it use the fixture `elsewhere`"


@pytest.fixture(scope="session")
def small_results(tmp_path_factory):
    """A folder with one experiment: depths 8 and 14, both variants, seeds 0 and 1, two epochs. Do not write to it."""
    from support.runs import TINY, train_here

    results = tmp_path_factory.mktemp("small") / "results"
    outcomes = train_here("depth=8,14", "seed=0,1", f"results={results}", "name=small", *TINY)
    assert [o.state for o in outcomes] == ["finished"] * 8
    return results


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """Run the test in an empty folder of its own. Data of an earlier test may have had the same relative path."""
    from resdepth.data import sources

    monkeypatch.chdir(tmp_path)
    sources.forget_user_data()


@pytest.fixture
def images():
    """A little data set in Keras' layout: three classes, told apart by brightness."""
    random = np.random.default_rng(0)
    labels = {"y_train": np.arange(60) % 3, "y_test": np.arange(15) % 3}
    arrays = dict(labels)
    for split in ("train", "test"):
        noise = random.integers(0, 60, (len(labels[f"y_{split}"]), 8, 8, 3))
        arrays[f"x_{split}"] = (noise + 80 * labels[f"y_{split}"][:, None, None, None]).astype(np.uint8)
    return arrays
