"""Standard output that tolerates write errors, lines on standard error, and a sign of life while nothing is printed."""

import io
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from resdepth.errors import one_line


class TolerantStdout(io.TextIOWrapper):
    """Standard output that discards what a full disk or closed pipe rejects; `is_lost` tells of the former."""

    def __init__(self, output: TextIO) -> None:
        super().__init__(output.buffer, output.encoding, output.errors, line_buffering=output.isatty())
        self.is_lost = False

    def write(self, text: str) -> int:
        self._call(super().write, text)
        return len(text)

    def flush(self) -> None:
        self._call(super().flush)

    def _call(self, method: Callable[..., object], *text: str) -> None:
        try:
            method(*text)
        except OSError as error:
            # The buffers are not empty: the next flush would fail again if the descriptor stayed as it is.
            with Path(os.devnull).open("wb") as nowhere:
                os.dup2(nowhere.fileno(), self.fileno())
            if not isinstance(error, BrokenPipeError):
                self.is_lost = True
                line = f"standard output cannot be written ({error.strerror}); further output is discarded"
                print(f"resdepth: {line}", file=sys.stderr)


def warn(lines: Iterable[str]) -> None:
    """Print each line to standard error, escaped and prefixed with the program's name."""
    for line in lines:
        print(f"resdepth: {one_line(line)}", file=sys.stderr)


@contextmanager
def busy(doing: str, *, quiet: bool = False) -> Iterator[None]:
    """In a terminal, show what is being done until the `with` block ends: loading torch takes seconds."""
    if quiet or not sys.stdout.isatty():
        yield
        return
    from rich.console import Console

    with Console().status(f"{doing} ..."):
        yield
