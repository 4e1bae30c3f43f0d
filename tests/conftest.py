"""What the tests share: the command in a process of its own, a small sweep made once, plans trained in this process."""

import io
import os
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from resdepth.cli.main import main
from resdepth.config.schema import DataConfig
from resdepth.results.outcome import Outcome
from resdepth.sweep.observer import Observer
from resdepth.sweep.plan import make_plan
from resdepth.sweep.run import train_run

ROOT = Path(__file__).resolve().parent.parent
# One thread: faster for nets this small, and the tests do not wait for each other's cores.
os.environ["OMP_NUM_THREADS"] = "1"
torch.set_num_threads(1)
TINY = ("recipe.epochs=2", "data.limit=128", "device=cpu")


def pytest_collection_modifyitems(items):
    if not torch.cuda.is_available():
        skip = pytest.mark.skip(reason="needs a CUDA device; run `make test` where there is one")
        for item in items:
            if "gpu" in item.keywords:
                item.add_marker(skip)


def command(*words, cwd=ROOT, **environment):
    """`python -m resdepth ...` as a user runs it: exit code, standard output, standard error."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200", **environment}
    return subprocess.run(
        [sys.executable, "-m", "resdepth", *map(str, words)],
        cwd=cwd, env=env, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


def command_with(before, *words, cwd):
    """`resdepth ...` in a forked process that calls `before` first: to take a right, a file size or memory from it.

    Forked, because torch need not be loaded again; a process, because what it lost it never gets back.
    """
    output = [tempfile.TemporaryFile("w+") for _ in range(2)]  # noqa: SIM115
    pid = os.fork()
    if pid == 0:
        code = 70
        try:
            os.chdir(cwd)
            for number, file in enumerate(output, start=1):
                os.dup2(file.fileno(), number)
            sys.stdout, sys.stderr = (io.TextIOWrapper(io.FileIO(n, "w", closefd=False)) for n in (1, 2))
            sys.argv = ["resdepth", *map(str, words)]
            before()
            main()
        except SystemExit as end:
            code = end.code or 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    said = []
    for file in output:
        file.seek(0)
        said.append(file.read())
        file.close()
    return subprocess.CompletedProcess(words, code, *said)


def train_here(*overrides) -> list[Outcome]:
    """Train a plan in this process, without Hydra's launcher."""
    return [train_run(planned, Observer()) for planned in make_plan(overrides).pending]


@pytest.fixture(scope="session")
def small_results(tmp_path_factory):
    """A folder with one experiment: depths 8 and 14, both variants, seeds 0 and 1, two epochs. Do not write to it."""
    results = tmp_path_factory.mktemp("small") / "results"
    outcomes = train_here("depth=8,14", "seed=0,1", f"results={results}", "name=small", *TINY)
    assert [o.state for o in outcomes] == ["finished"] * 8
    return results


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


def write_folder(root, arrays):
    """The arrays as an ImageFolder tree, named by their place, classes by letter."""
    for split in ("train", "test"):
        for i, (image, label) in enumerate(zip(arrays[f"x_{split}"], arrays[f"y_{split}"], strict=True)):
            folder = root / split / "abc"[label]
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(folder / f"{i:03d}.png")
    return DataConfig(name="folder", source="folder", path=str(root))


def write_npz(path, arrays):
    np.savez(path, **arrays)
    return DataConfig(name="npz", source="npz", path=str(path))
