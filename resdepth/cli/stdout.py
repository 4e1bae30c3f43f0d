"""Standard output that cannot fail what is printed about."""

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO


class TolerantStdout(io.TextIOWrapper):
    """Standard output that a full disk or a reader who has left does not turn into a failed run: it goes on unseen."""

    def __init__(self, output: TextIO) -> None:
        super().__init__(output.buffer, output.encoding, output.errors, line_buffering=output.isatty())
        self.is_lost = False

    def write(self, text: str) -> int:
        with self._kept_going():
            super().write(text)
        return len(text)

    def flush(self) -> None:
        with self._kept_going():
            super().flush()

    @contextmanager
    def _kept_going(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            # What is still in the buffers must have somewhere to go.
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())
            os.close(nowhere)
            if not isinstance(error, BrokenPipeError):
                self.is_lost = True
                line = f"standard output cannot be written ({error.strerror}); nothing more is printed to it"
                print(f"resdepth: {line}", file=sys.stderr)
