"""`plot` and `summary`: folders, and which of their runs."""

import re
import shutil
import threading
import time

import pytest
from support.commands import forked_command
from support.platforms import posix
from support.processes import start
from support.runs import write_run

from resdepth.cli.commands import results as commands
from resdepth.errors import ConfigError
from resdepth.report.plots import PlotRequest
from resdepth.results import run_directory
from resdepth.results.files.lock import locked
from resdepth.results.filters import Filters


@pytest.fixture
def results(tmp_path):
    for depth in (8, 20):
        for variant in ("plain", "residual"):
            write_run(tmp_path / "results", variant, depth, name="one", train_error=float(depth))
            write_run(tmp_path / "results", variant, depth, name="other", train_error=1.0, lr=0.1)
    return tmp_path


@pytest.mark.parametrize(
    "words",
    [
        ("results/one", "depth=20", "variant=plain"),
        ("variant=plain", "results/one", "--depth=20"),
        ("results/one", "--depth", "20", "--variant", "plain", "--seed", "0"),
        ("results", "--where", "name=one", "--where", "depth=20", "--where", "variant=plain"),
    ],
)
def test_a_run_is_chosen_by_words_and_by_options(results, words):
    done = forked_command("summary", *words, cwd=results)
    assert done.returncode == 0, done.stderr
    assert re.findall(r"^(plain|residual) +(\d+)", done.stdout, re.MULTILINE) == [("plain", "20")]
    done = forked_command("plot", *words, "--format", "svg", cwd=results)
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.rpartition("/")[2].partition("_")[0] for line in done.stdout.splitlines()] == ["training", "curves"]


def test_several_folders_are_summed_up_together(results):
    done = forked_command("summary", "results/one", "results/other", "variant=residual", cwd=results)
    assert done.stdout.startswith("one+other\n")
    found = re.findall(r"^recipe\.lr=(\S+) +residual +(\d+) +1 +([\d.]+) %", done.stdout, re.MULTILINE)
    assert found == [("0.02", "8", "8.00"), ("0.02", "20", "20.00"), ("0.1", "8", "1.00"), ("0.1", "20", "1.00")]


def test_a_folder_whose_name_has_an_equals_sign_is_a_folder(results):
    (results / "results" / "one").rename(results / "lr=0.02")
    done = forked_command("summary", "lr=0.02", cwd=results)
    assert done.stdout.startswith("lr=0.02\n")


def test_a_figure_that_is_removed_is_named(results):
    forked_command("plot", "results/one", "--format=png", cwd=results)
    for run in (results / "results" / "one").glob("*-20-*"):
        shutil.rmtree(run)
    done = forked_command("plot", "results/one", "--format=png", cwd=results)
    stale = "results/one/figures/depth.png"
    assert done.stderr == f"resdepth: {stale}: removed, since the results no longer give this figure\n"
    assert not (results / stale).exists()


@posix
@pytest.mark.slow
def test_watching_draws_again_while_a_sweep_runs_and_ends_with_it(tmp_path):
    watching = start("plot", "--watch", "--format=png", cwd=tmp_path)
    time.sleep(1.5)
    sweep = start("sweep", "depth=8", "recipe.epochs=30", "device=cpu", "-q", cwd=tmp_path)
    assert sweep.communicate(timeout=120)[1] == ""
    out, err = watching.communicate(timeout=60)
    assert (watching.returncode, err) == (0, "")
    waited, drawn = ([line for line in out.splitlines() if ("drew" in line) == is_drawn] for is_drawn in (False, True))
    assert waited[0].startswith("Waiting (results=results: is not a folder")
    assert all(line.startswith("Waiting (") for line in waited)
    assert len(drawn) > 2
    assert all(re.fullmatch(r"\d\d:\d\d:\d\d drew \d files; runs: .+", line) for line in drawn)
    assert "running" in drawn[0]
    assert drawn[-1].endswith("runs: 2 finished")


@posix
@pytest.mark.slow
def test_ctrl_c_ends_watching(results):
    watching = start("plot", "results/one", "--watch", cwd=results)
    threading.Timer(4, lambda: watching.send_signal(2)).start()
    (results / "results/one/plain-8-s0/outcome.json").unlink()
    out, err = watching.communicate(timeout=30)
    assert (watching.returncode, err) == (0, "")
    assert out.endswith("runs: 3 finished, 1 stopped\n")


@pytest.fixture
def watch(monkeypatch):
    """`plot --watch` of a folder, at another pace; returns the seconds it took, and when it drew."""
    monkeypatch.setattr(commands, "_POLL_SECONDS", 0.02)
    monkeypatch.setattr(commands, "_QUIET_SECONDS", 0.2)

    def run(folder):
        drawn, started = [], time.monotonic()
        monkeypatch.setattr(commands, "_draw_again", lambda *_: drawn.append(time.monotonic() - started))
        commands._watch(PlotRequest([folder]))
        return time.monotonic() - started, drawn

    return run


@posix
def test_watching_goes_on_while_a_run_without_a_row_is_trained_and_ends_after_a_sweep_was_killed(results, watch):
    """Run 2's first epoch takes longer than the time between two runs; then its process is gone, and leaves nothing."""
    run = results / "results" / "one" / "plain-56-s0"
    shutil.copytree(results / "results" / "one" / "plain-8-s0", run)
    for file in ("metrics.csv", "outcome.json"):
        (run / file).unlink()
    lock = locked(run)
    lock.__enter__()
    threading.Timer(0.8, lock.__exit__, (None, None, None)).start()
    took, drawn = watch(results / "results" / "one")
    assert 1.0 <= took < 5
    # Once in the beginning, and once when nothing is trained any more.
    assert len(drawn) == 2
    assert drawn[0] < 0.5
    assert drawn[1] > 0.7


@posix
def test_a_run_that_is_moved_while_it_is_watched_ends_nothing(results, watch, monkeypatch):
    calls, run_folders = [], run_directory.run_folders

    def moved(folder):
        calls.append(folder)
        if len(calls) == 2:
            raise FileNotFoundError(2, "No such file or directory", "plain-8-s0")
        yield from run_folders(folder)
        if len(calls) == 3:
            yield folder / "plain-99-s0"

    monkeypatch.setattr(run_directory, "run_folders", moved)
    assert watch(results / "results" / "one")[0] >= 0.2
    assert len(calls) > 3


def test_a_condition_as_long_as_no_files_name_may_be_is_a_condition():
    seeds = ",".join(map(str, range(200)))
    _, filters = commands._parse([f"seed={seeds}"], None, None, None, None)
    assert filters.values["seed"] == tuple(map(str, range(200)))


@posix
def test_watching_what_no_run_can_match_says_so_and_ends(results, monkeypatch):
    monkeypatch.setattr(commands, "_POLL_SECONDS", 0.02)
    with pytest.raises(ConfigError, match="dept=8: no run has this key; did you mean depth"):
        commands._watch(PlotRequest([results / "results" / "one"], filters=Filters.parse(["dept=8"])))
