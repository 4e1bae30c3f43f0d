"""What a process of its own adds: bytes as arguments, a full disk at the end of a pipe, a reader that goes away."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.bad_input import NO_NPZ, NPZ, Said, check_refused, declared, everything
from support.commands import ROOT, command
from support.platforms import linux, posix


@pytest.mark.parametrize(
    ("prepare", "words", "line"),
    [
        (None, ["sweep", "depth=21"], "depth=21: a conv net has 6n+2 layers; nearest are 20 and 26"),
        (None, ["sweep", b"results=\xff"], "results='\\udcff': contains a control character, or bytes"),
        (None, ["summary", "."], "results=.: contains no results yet"),
        (declared, NPZ.split(), NO_NPZ),
    ],
)  # fmt: skip
def test_the_real_command_says_the_same(prepare, words, line, tmp_path, images):
    if prepare is not None:
        prepare(tmp_path, images)
    before = everything(tmp_path)
    done = command(*map(os.fsdecode, words), cwd=tmp_path)
    check_refused(Said(done.returncode, done.stdout, done.stderr), line)
    assert everything(tmp_path) == before


# As where a user says it: what is written is flushed at the end.
BUFFERED = {**os.environ, "PYTHONUNBUFFERED": ""}


@linux
def test_a_fault_at_run_time_is_one_line_and_exit_code_1():
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "resdepth", "summary", str(ROOT / "results" / "published" / "digits_1202")],
            cwd=ROOT, env=BUFFERED, stdout=full, stderr=subprocess.PIPE, text=True, timeout=300, check=False,
        )  # fmt: skip
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.startswith("resdepth: standard output cannot be written (No space left on device); ")


@posix
@pytest.mark.parametrize("words", [["--version"], ["summary", str(ROOT / "results" / "published" / "digits_1202")]])
def test_a_reader_that_goes_away_is_no_fault(words):
    with subprocess.Popen(
        [sys.executable, "-m", "resdepth", *words],
        cwd=ROOT,
        env=BUFFERED,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(timeout=300) == 0
