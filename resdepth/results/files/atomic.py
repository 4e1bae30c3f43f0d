"""Atomic file writes: a reader sees the old file or the complete new one."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

# The suffix of a file while it is written.
PART = ".part"


def atomic_write_text(path: Path, text: str) -> None:
    """Write a small text file atomically, as UTF-8."""
    with atomic_open(path) as file:
        file.write(text.encode())


@contextmanager
def atomic_open(path: Path) -> Iterator[IO[bytes]]:
    """Open a temporary file that replaces `path` when the block ends: written, fsynced, renamed, the folder fsynced.

    After an exception in the block, `path` is as it was.
    """
    part = path.with_name(path.name + PART)
    try:
        with part.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except BaseException:
        # On a full disk an incomplete file would take up space.
        with suppress(OSError):
            part.unlink(missing_ok=True)
        raise
    if os.name == "posix":
        # The rename must be on disk before a file that the new one supersedes is removed.
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
