"""The progress bar while many runs are read."""

import io
import itertools
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.runs import write_run

from resdepth.cli import progress
from resdepth.cli.app import app

FOLDERS = [Path(f"run-{i}") for i in range(3120)]


class Terminal(io.StringIO):
    def isatty(self):
        return True


def read_all(monkeypatch, stderr, seconds_per_run):
    """What is written to this standard error while the folders are read, with a clock that each reading moves."""
    clock = itertools.count(step=seconds_per_run)
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    monkeypatch.setattr("sys.stderr", stderr)
    monkeypatch.setenv("TERM", "xterm-256color")
    assert list(progress.track_reading(FOLDERS)) == FOLDERS
    return stderr.getvalue()


def test_a_bar_appears_after_two_seconds_and_is_gone_at_the_end(monkeypatch):
    sent = read_all(monkeypatch, Terminal(), 3 / 1000)
    first, *_, last = re.findall(r"reading ([\d,]+) of 3,120 runs", sent)
    assert (first, last) == ("666", "3,120")
    assert sent.endswith("\x1b[1A\x1b[2K")  # the cursor is moved up and the line erased


def test_nothing_appears_within_two_seconds(monkeypatch):
    assert read_all(monkeypatch, Terminal(), 2 / 4000) == ""


@pytest.mark.parametrize("force_color", ["", "1"])
def test_nothing_appears_in_a_pipe(force_color, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", force_color)
    assert read_all(monkeypatch, io.StringIO(), 1) == ""


def test_an_error_while_reading_erases_the_bar(monkeypatch):
    stderr = Terminal()
    clock = itertools.count()
    monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    monkeypatch.setattr("sys.stderr", stderr)
    monkeypatch.setenv("TERM", "xterm-256color")

    def read(folders):
        for folder in folders:
            if folder == FOLDERS[5]:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        read(progress.track_reading(FOLDERS))
    assert "of 3,120 runs" in stderr.getvalue()
    assert stderr.getvalue().endswith("\x1b[1A\x1b[2K")


@pytest.mark.parametrize("words", [["summary", "results"], ["plot", "results", "--format", "png"]])
def test_summary_and_plot_read_their_runs_with_it(words, monkeypatch, tmp_path):
    folder = write_run(tmp_path / "results")
    monkeypatch.chdir(tmp_path)
    tracked = []
    monkeypatch.setattr(progress, "track_reading", lambda folders: tracked.extend(folders) or folders)
    app(words, standalone_mode=False)
    assert tracked == [folder.relative_to(tmp_path)]
