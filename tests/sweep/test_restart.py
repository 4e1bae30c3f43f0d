"""Runs that are started over: the old run is kept, and nothing reads it."""

import os
import shutil
import signal
from pathlib import Path

import pytest
from support.commands import command_with, forked_command
from support.faults import lines_of
from support.platforms import linux
from support.runs import all_rows, metrics, train_here

from resdepth.cli.printing import print_summary
from resdepth.errors import ConfigError
from resdepth.results.filters import Filters
from resdepth.results.table import load_results
from resdepth.sweep.jobs.launch import launch
from resdepth.sweep.observer import Observer
from resdepth.sweep.plan import make_plan
from resdepth.sweep.preflight import preflight

pytestmark = [pytest.mark.usefixtures("elsewhere"), pytest.mark.slow, pytest.mark.xdist_group("restart")]

WORDS = ("depth=8", "variant=plain", "recipe.epochs=4", "data.limit=128", "device=cpu")
RUN = "plain-8-s0,data.limit=128,recipe.epochs=4"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Results with the finished run."""
    folder = tmp_path_factory.mktemp("trained") / "results"
    train_here(*WORDS, f"results={folder}")
    return folder


@pytest.fixture
def folder(trained, tmp_path):
    """The finished run's folder, in a copy of the results for this test alone."""
    shutil.copytree(trained, tmp_path / "results")
    return tmp_path / "results" / "digits" / RUN


def restart():
    return launch(preflight(make_plan(WORDS, restart=True)), Observer())


@pytest.mark.parametrize("command", ["sweep", "train"])
def test_a_restarted_run_is_trained_anew_and_each_old_one_is_kept(folder, tmp_path, command):
    row = metrics(folder)
    for n in (1, 2):
        (folder / "mark").write_text(str(n))
        done = forked_command(command, *WORDS, "--restart", cwd=tmp_path)
        assert lines_of(done, 0) == []
        assert "1 to be started over, the old ones kept in .aside" in done.stdout
        kept = folder.parent / ".aside" / f"{RUN}.{n}"
        assert (kept / "mark").read_text() == str(n)
        assert metrics(kept) == metrics(folder) == row
        assert sorted(file.name for file in folder.iterdir()) == [
            "config.yaml", "environment.json", "metrics.csv", "outcome.json",
        ]  # fmt: skip


def test_nothing_reads_what_was_kept_aside(folder, capsys):
    restart()
    table = load_results("results")
    assert (set(table.run), len(table)) == ({RUN}, 4)
    assert print_summary([Path("results")], Filters({}), None) == []
    assert capsys.readouterr().out.count("plain") == 2  # the table's row and the verdict
    assert [planned.state for planned in make_plan(WORDS).runs] == ["finished"]


def test_a_restart_refuses_a_folder_that_is_no_run_or_holds_another_one(tmp_path):
    folder = tmp_path / "results" / "digits" / RUN
    folder.mkdir(parents=True)
    (folder / "thesis.tex").write_text("x")
    done = forked_command("sweep", *WORDS, "--restart", cwd=tmp_path)
    (line,) = lines_of(done, 2)
    assert line.endswith("exists and is not a run of this program; choose another name=")
    (folder / "thesis.tex").unlink()
    train_here(*WORDS)
    config = folder / "config.yaml"
    config.write_text(config.read_text().replace("lr: 0.02", "lr: 0.3"))
    with pytest.raises(ConfigError, match=r"holds another run \(recipe\.lr=0\.3 there"):
        restart()
    assert not (folder.parent / ".aside").exists()


@pytest.mark.parametrize("content", [b"", b"depth: [", b"\xff\x00", b"a: 2001-99-99", b"- 1"])
def test_a_run_with_a_damaged_configuration_says_how_it_is_restarted_and_can_be(folder, tmp_path, content):
    before = metrics(folder)
    (folder / "config.yaml").write_bytes(content)
    (line,) = lines_of(forked_command("sweep", *WORDS, cwd=tmp_path), 2)
    assert line.endswith("move its folder away, or start it over with --restart")
    assert [outcome.state for outcome in restart()] == ["finished"]
    assert metrics(folder) == before
    assert (folder.parent / ".aside" / f"{RUN}.1" / "config.yaml").read_bytes() == content


def test_a_restart_that_cannot_keep_the_old_run_leaves_it_where_it_is(folder, tmp_path):
    before = all_rows(tmp_path)
    (folder.parent / ".aside").write_text("a file")
    (line,) = lines_of(forked_command("sweep", *WORDS, "--restart", cwd=tmp_path), 1)
    assert "cannot be kept in results/digits/.aside (File exists); fix that, or move it away" in line
    assert all_rows(tmp_path) == before


@linux
def test_a_restart_that_is_stopped_goes_on_without_starting_over_again(folder, tmp_path):
    def stop_after_an_epoch():
        Observer.on_epoch = lambda *_: os.kill(os.getpid(), signal.SIGINT)

    words = ("sweep", *WORDS, "-q", "checkpoint_seconds=0")
    done = command_with(stop_after_an_epoch, *words, "--restart", cwd=tmp_path)
    (line,) = lines_of(done, 130)
    assert line == f"resdepth: stopped; to continue: resdepth {' '.join(words)}"
    assert len(metrics(folder)) == 1
    assert lines_of(forked_command(*words, cwd=tmp_path), 0) == []
    old = folder.parent / ".aside" / f"{RUN}.1"
    assert metrics(folder) == metrics(old)
    assert not old.with_name(f"{RUN}.2").exists()
