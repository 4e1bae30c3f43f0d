"""Every run below a folder as one table."""

import pytest
import yaml
from support.runs import write_run

import resdepth
from resdepth.errors import ConfigError
from resdepth.report.comparison import comparisons
from resdepth.results.files.lock import locked
from resdepth.results.table import load_results, read_results


def test_results_are_one_tidy_table_with_the_configurations_keys(small_results):
    table = resdepth.load_results(small_results)
    assert len(table) == 8 * 2
    assert set(table.experiment) == {"small"}
    assert set(table.state) == {"finished"}
    assert set(table["recipe.lr"]) == {0.02}
    assert set(table["data.limit"]) == {128}
    assert set(table[table.variant == "plain"].shortcut) == {"none"}
    assert table["model.shortcut"].isna().equals(table.variant == "plain")


@pytest.mark.parametrize("below", ["", "small", "small/plain-8-s0,data.limit=128,recipe.epochs=2"])
def test_an_experiment_has_one_name_wherever_it_is_read_from(small_results, below):
    assert set(load_results(small_results / below).experiment) == {"small"}


def test_published_results_are_read_only_where_they_are_asked_for(tmp_path):
    write_run(tmp_path / "results")
    write_run(tmp_path / "results" / "published", name="theirs")
    assert set(load_results(tmp_path / "results").experiment) == {"exp"}
    assert set(load_results(tmp_path / "results" / "published").experiment) == {"theirs"}


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="is not a folder"):
        load_results(tmp_path / "nowhere")


def test_a_file_that_cannot_be_read_is_named_and_the_others_are_read(tmp_path):
    write_run(tmp_path)
    bad = write_run(tmp_path, "residual")
    (bad / "metrics.csv").write_text("a,b\n1,2\n")
    table, problems = read_results(tmp_path)
    assert set(table.variant) == {"plain"}
    assert len(problems) == 1
    assert str(bad / "metrics.csv") in problems[0]
    with pytest.warns(UserWarning, match=r"metrics\.csv"):
        load_results(tmp_path)


def test_a_run_without_an_outcome_is_running_while_a_process_holds_it_else_stopped(tmp_path):
    folder = write_run(tmp_path)
    (folder / "outcome.json").unlink()
    assert set(load_results(tmp_path).state) == {"stopped"}
    assert not (folder / ".lock").exists()  # reading leaves nothing
    with locked(folder):
        assert set(load_results(tmp_path).state) == {"running"}
    (folder / ".lock").write_text("")  # as a killed process leaves it
    assert set(load_results(tmp_path).state) == {"stopped"}
    with locked(folder):  # while somebody looks
        assert set(load_results(tmp_path).state) == {"running"}


def test_config_yaml_can_be_read_by_anyone(small_results):
    folder = next((small_results / "small").glob("plain-8-s0*"))
    tree = yaml.safe_load((folder / "config.yaml").read_text())
    assert (tree["depth"], tree["recipe"]["lr"], tree["data"]["limit"]) == (8, 0.02, 128)


def test_a_run_older_than_a_key_has_its_default_and_is_compared_with_newer_ones(tmp_path):
    old, _ = write_run(tmp_path, variant="plain"), write_run(tmp_path, variant="residual")
    lines = (old / "config.yaml").read_text().splitlines(keepends=True)
    (old / "config.yaml").write_text("".join(line for line in lines if "architecture" not in line))
    table = load_results(tmp_path)
    assert set(table["model.architecture"]) == {"conv"}
    assert len(comparisons(table)) == 1
    assert "model.widths" not in table
