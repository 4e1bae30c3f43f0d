"""Run `resdepth` as a user does: in a process, in a forked process, or in a terminal."""

import io
import os
import re
import signal
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path

from resdepth.cli.main import main
from support.images import forget_images
from support.platforms import IS_LINUX

ROOT = Path(__file__).resolve().parents[2]


def process_arguments():
    """Keyword arguments of `subprocess` for a process that Ctrl-C ends.

    A shell starts its background jobs with SIGINT ignored, and what is ignored is inherited: tests that send SIGINT
    would fail because of how pytest was started.
    """
    if os.name != "posix":
        return {}
    return {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}


def environment(**changes):
    return {**os.environ, "PYTHONPATH": str(ROOT), **changes}


def command(*words, cwd=ROOT, **changes):
    """`python -m resdepth ...` as a user runs it: exit code, standard output, standard error."""
    return subprocess.run(
        [sys.executable, "-m", "resdepth", *map(str, words)], cwd=cwd, env=environment(COLUMNS="200", **changes),
        capture_output=True, text=True, timeout=300, check=False, **process_arguments(),
    )  # fmt: skip


def _fork(words, cwd, before, files):
    """Fork a process that runs `before` and the command with these files as its descriptors 0, 1, ...; its number."""
    pid = os.fork()
    if pid:
        return pid
    code = 70
    try:
        os.chdir(cwd)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        forget_images()
        for number, file in enumerate(files):
            os.dup2(file, number)
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


def command_with(before, *words, cwd):
    """`resdepth ...` in a forked process that calls `before` first: to take a right, a file size or memory from it.

    Forked, because torch need not be loaded again; a process, because what it lost it never gets back.
    """

    def prepare():
        os.environ["COLUMNS"] = "200"
        before()

    with Path(os.devnull).open() as nothing, tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        pid = _fork(words, cwd, prepare, [file.fileno() for file in (nothing, out, err)])
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        for file in (out, err):
            file.seek(0)
        return subprocess.CompletedProcess(words, code, out.read(), err.read())


def forked_command(*words, cwd=ROOT):
    """`command` without loading torch again, for what a process started anew proves nothing more about.

    On other systems than Linux it is `command`: macOS' libraries do not survive a fork, Windows has none.
    """
    return command_with(lambda: None, *words, cwd=cwd) if IS_LINUX else command(*words, cwd=cwd)


def in_a_terminal(*words, cwd, columns):
    """What a terminal of so many columns is sent, with its colours and cursor movements taken out."""

    def describe_the_terminal():
        os.environ.update(COLUMNS=str(columns), LINES="30", TERM="xterm-256color")

    master, slave = os.openpty()
    pid = _fork(words, cwd, describe_the_terminal, [slave] * 3)
    os.close(slave)
    sent = b""
    while True:
        try:
            part = os.read(master, 65536)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        sent += part
    os.close(master)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, sent.decode()
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", sent.decode())
