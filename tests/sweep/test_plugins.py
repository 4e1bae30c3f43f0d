"""A variant of a user's own, trained in this process, in worker processes, by a launcher's jobs, and compiled."""

import shutil

import matplotlib.pyplot as plt
import pytest
import torch
from support.commands import forked_command
from support.plugins import HALF, defining, write_plugin
from support.runs import TINY, all_rows
from support.trainers import training

from resdepth.config.schema import ModelConfig
from resdepth.data.dataset import Shape
from resdepth.errors import ConfigError
from resdepth.models.build import require_join
from resdepth.models.plugins import active_plugins, use_plugins
from resdepth.report.comparison import comparisons
from resdepth.report.plots import draw
from resdepth.results.table import load_results
from resdepth.sweep import compilation, processes
from resdepth.sweep.groups import Group
from resdepth.sweep.jobs.launch import launch
from resdepth.sweep.observer import Observer
from resdepth.sweep.plan import make_plan
from resdepth.sweep.preflight import preflight

WORDS = ("depth=8", "variant=residual,half", *TINY)


@pytest.fixture(autouse=True)
def _no_plugin_stays():
    yield
    use_plugins([])


@pytest.fixture
def plugin(tmp_path):
    path = write_plugin(tmp_path)
    use_plugins([path])
    return path


@pytest.fixture
def alone(plugin, tmp_path):
    """The rows of both variants trained in this process, one after the other."""
    plan = make_plan([*WORDS, "runs_per_job=1", f"results={tmp_path / 'alone'}"])
    assert [o.state for o in launch(preflight(plan), Observer())] == ["finished"] * 2
    return all_rows(tmp_path / "alone")


def test_worker_processes_train_it_from_the_content_of_its_file(alone, plugin, tmp_path):
    assert load_results(tmp_path / "alone").groupby("variant").train_loss.last().nunique() == 2
    runs = make_plan([*WORDS, f"results={tmp_path / 'beside'}"]).runs
    plugin.unlink()
    outcomes = processes.train_in_processes(Group(runs, 2, 2, 2), Observer())
    assert [o.state for o in outcomes] == ["finished"] * 2
    assert all_rows(tmp_path / "beside") == alone


@pytest.mark.slow
def test_the_jobs_of_a_launcher_train_it(alone, plugin, tmp_path):
    words = [*WORDS, "hydra/launcher=joblib", "hydra.launcher.n_jobs=2", f"results={tmp_path / 'jobs'}"]
    assert [o.state for o in launch(preflight(make_plan(words)), Observer())] == ["finished"] * 2
    assert all_rows(tmp_path / "jobs").keys() == alone.keys()


def test_a_process_that_compiles_its_blocks_knows_it(plugin, monkeypatch):
    t = training(depth=8, variant="half", engine="compiled")
    seen, plugins = [], active_plugins()
    use_plugins([])
    monkeypatch.setattr(
        compilation, "block_forward", lambda *_, **__: lambda block, a: seen.append(block.join) or block(a)
    )
    compilation._compile(0, t.config, Shape(1, 8, 8, 10, 32), 1, 1, plugins)
    assert [join(1.0, 4.0) for join in seen] == [3.0]


def test_figures_and_summary_need_no_plugin_and_versions_of_it_are_settings(alone, plugin, tmp_path):
    use_plugins([])
    (comparison,) = comparisons(load_results(tmp_path / "alone"))
    assert "plugin" not in comparison.title
    (panels,) = [
        [axes.get_title() for axes in figure.axes] for _, name, figure in draw(comparison.rows) if name == "curves"
    ]
    plt.close("all")
    assert panels == ["residual", "half"]
    done = forked_command("summary", "alone", cwd=tmp_path)
    assert [line.split()[0] for line in done.stdout.splitlines()[2:4]] == ["residual", "half"]
    # Another version of the file, and another file with another variant, which is no version of the first.
    plugin.write_text(HALF.replace("0.5", "0.25"))
    other = write_plugin(tmp_path, defining(twice="lambda z, a: 2 * z"), "other.py")
    use_plugins([plugin, other])
    words = ["depth=8", *TINY, f"results={tmp_path / 'alone'}"]
    launch(preflight(make_plan(["variant=twice", *words])), Observer())
    (comparison,) = comparisons(load_results(tmp_path / "alone"))
    assert set(comparison.rows.variant) == {"residual", "half", "twice"}
    launch(preflight(make_plan(["variant=half", *words])), Observer())
    shutil.rmtree(next((tmp_path / "alone").glob("*/twice*")))
    found = comparisons(load_results(tmp_path / "alone"))
    assert [list(c.rows.variant.unique()) for c in found] in ([["half", "residual"]] * 2, [["residual", "half"]] * 2)
    assert all("plugin" in c.title for c in found)


JOINS = {
    "lambda z: z": "its join fails (TypeError: ",
    "lambda z, a: z + a.nothing": "its join fails (AttributeError: ",
    "lambda z, a: z.mean()": "its join returns float32 of shape () for float32 of shape (2, 3, 4, 4); it takes",
    "lambda z, a: z.double()": "its join returns float64 of shape (2, 3, 4, 4) for",
    "lambda z, a: None": "its join returns NoneType for",
    "lambda z, a: z + a.mul_(2)": "its join fails (RuntimeError: one of the variables needed for gradient computation",
}


@pytest.mark.parametrize(("join", "line"), JOINS.items())
def test_a_join_that_does_not_work_is_found_before_the_training(tmp_path, join, line):
    use_plugins([write_plugin(tmp_path, defining(mine=join))])
    plan = make_plan(["depth=8", "variant=plain,mine", f"results={tmp_path / 'results'}", *TINY])
    with pytest.raises(ConfigError) as error:
        preflight(plan)
    assert str(error.value).startswith(f"variant=mine: {line}")
    assert not (tmp_path / "results").exists()


def test_a_join_is_tried_in_the_nets_architecture_and_precision(tmp_path):
    joins = {
        "conv": "lambda z, a: z + a.mean(dim=(2, 3), keepdim=True)",
        "full": "lambda z, a: z + __import__('torch').ones(())",
    }
    use_plugins([write_plugin(tmp_path, defining(**joins, wide="lambda z, a: (z + a.float())"))])
    require_join("conv", ModelConfig(), torch.float32)
    with pytest.raises(ConfigError, match=r"variant=conv: its join fails \(IndexError"):
        require_join("conv", ModelConfig(architecture="dense"), torch.float32)
    require_join("wide", ModelConfig(), torch.float32)
    with pytest.raises(ConfigError, match="variant=wide: its join returns"):
        require_join("wide", ModelConfig(), torch.bfloat16)
    require_join("full", ModelConfig(), torch.bfloat16)
