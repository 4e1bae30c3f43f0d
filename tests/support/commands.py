"""Run `resdepth` as a user does: in a process, in a forked process, or in a terminal."""

import io
import os
import re
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path

from resdepth.cli.main import main

ROOT = Path(__file__).resolve().parents[2]


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


def in_a_terminal(*words, cwd, columns):
    """What a terminal of so many columns is sent, with its colours and cursor movements taken out."""
    master, slave = os.openpty()
    env = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": str(columns), "LINES": "30", "TERM": "xterm-256color"}
    command = [sys.executable, "-m", "resdepth", *words]
    with subprocess.Popen(command, cwd=cwd, env=env, stdin=slave, stdout=slave, stderr=slave) as process:
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
    assert process.returncode == 0, sent.decode()
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", sent.decode())
