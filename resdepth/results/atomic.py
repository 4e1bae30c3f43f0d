"""Files that are whole or not there."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

# How a file is called while it is written, and the folder of runs that were started over.
PART, ASIDE = ".part", ".aside"


def atomic_write_text(path: Path, text: str) -> None:
    """Write a small file whole or not at all."""
    with atomic_open(path) as file:
        file.write(text.encode())


@contextmanager
def atomic_open(path: Path) -> Iterator[IO[bytes]]:
    """A file to write that takes the place of `path` as a whole, when it is on the disk, or not at all."""
    aside = path.with_name(path.name + PART)
    try:
        with aside.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except BaseException:
        # On a full disk the half of it would be in the way.
        with suppress(OSError):
            aside.unlink(missing_ok=True)
        raise
    if os.name == "posix":
        # The name too must be on the disk before anything is removed that it replaces.
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
