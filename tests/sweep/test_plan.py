"""The plan: which runs there are, which are repeated, which are pending."""

import json
from pathlib import Path

import pytest
from support.runs import TINY, train_here

from resdepth.errors import ConfigError
from resdepth.results.run_directory import read_config, write_config
from resdepth.sweep.plan import make_plan, make_specs

pytestmark = pytest.mark.usefixtures("elsewhere")


def test_points_that_are_one_run_are_planned_once():
    plan = make_plan(["depth=8,8", "model.shortcut=A,B"])
    assert [run.label for run in plan.runs] == ["plain-8-s0", "residual-8-s0", "residual-8-s0,model.shortcut=B"]
    assert plan.repeated == 5


def test_train_makes_one_run_and_refuses_more():
    assert [r.label for r in make_plan(["depth=56", "variant=plain"], swept=False).runs] == ["plain-56-s0"]
    with pytest.raises(ConfigError, match="use resdepth sweep"):
        make_plan(["depth=20,56"], swept=False)


def test_planning_writes_nothing():
    make_plan(["experiment=digits"])
    assert not list(Path().iterdir())


def test_finished_runs_are_skipped_and_failed_ones_tried_again():
    words = ("depth=8", *TINY)
    train_here(*words)
    assert [run.state for run in make_plan(words).runs] == ["finished", "finished"]
    folder = make_plan(words).runs[0].directory
    (folder / "outcome.json").write_text(json.dumps({"state": "failed", "seconds": 1.0, "message": "x"}))
    assert [run.label for run in make_plan(words).pending] == [folder.name]


def test_an_experiment_is_refused_a_config_dir_with_a_main_file(tmp_path):
    (tmp_path / "config.yaml").write_text("depth: 8\n")
    with pytest.raises(ConfigError, match=r"contains a config\.yaml"):
        make_plan([], tmp_path)


def test_a_long_configuration_is_read_again_as_it_was_written():
    milestones = ",".join(map(str, range(1, 1200)))
    (run,) = make_plan(["depth=8", "variant=plain", f"recipe.milestones=[{milestones}]"]).runs
    run.directory.mkdir(parents=True)
    write_config(run.directory, run.config)
    assert (run.directory / "config.yaml").stat().st_size > 8192
    assert read_config(run.directory)["recipe.milestones"] == run.config.recipe.milestones


def test_a_run_needs_memory_for_its_step_for_an_evaluation_and_for_the_copy_that_is_saved():
    (spec,) = make_specs(["depth=20", "variant=residual", "data=cifar10"])
    evaluation = spec.own_memory_bytes - round(1.25 * spec.min_memory_bytes) - 8 * spec.parameters
    assert evaluation == 3 * 1000 * 16 * 32 * 32 * 4  # three maps of 16 channels of a thousand images, in float32
    assert spec.process_memory_bytes > 50_000 * 3 * 32 * 32
