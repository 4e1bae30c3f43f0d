"""The lock of a run's directory: one process at a time trains a run. The system releases that of a killed one."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from resdepth.config.schema import RunConfig
from resdepth.errors import ConfigError, RunError

LOCK = ".lock"
_LOCK_SECONDS = 0.1


class RunLockedError(RunError):
    """Another process is training this run."""


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lock a run's directory until the block or the process ends. Raises RunLockedError where another one holds it."""
    # Somebody who looks whether the run is being trained holds the lock for a moment.
    lock = FileLock(folder / LOCK, timeout=_LOCK_SECONDS, poll_interval=_LOCK_SECONDS / 10, fallback_to_soft=False)
    try:
        lock.acquire()
    except Timeout as error:
        remedy = "wait for it, or choose another name="
        raise RunLockedError(f"{folder}: is being trained by another process; {remedy}") from error
    except NotImplementedError as error:
        remedy = "choose results=FOLDER on another one; nothing else keeps two processes from training the same run"
        raise RunError(f"{folder}: its file system has no file locks; {remedy}") from error
    except PermissionError as error:
        if not _is_held(folder / LOCK):
            raise
        raise RunLockedError(f"{folder}: is being trained by another user; choose another name=") from error
    try:
        yield
    finally:
        # A lock file that nobody holds does no harm; failing to remove it must not fail the run.
        with suppress(OSError):
            (folder / LOCK).unlink(missing_ok=True)
        lock.release()


def is_locked(folder: Path) -> bool:
    """Whether a process holds the lock of a run's directory, and so is training the run."""
    lock = FileLock(folder / LOCK, timeout=0, fallback_to_soft=False)
    try:
        # What a dead process left is not removed: another one may be taking it over.
        if (folder / LOCK).exists():
            lock.acquire()
            lock.release()
    except Timeout:
        return True
    except (OSError, NotImplementedError):  # a folder that this user may only read, or without locks
        return _is_held(folder / LOCK)
    return False


def _is_held(path: Path) -> bool:
    """Whether a process holds a lock that this user may only read."""
    try:
        import fcntl

        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except (ImportError, OSError):
        return False
    return False


def require_unlocked(folder: Path, config: RunConfig) -> None:
    """Raises ConfigError where another process is training this run."""
    if not (folder / LOCK).exists():
        return
    try:
        with locked(folder):
            pass
    except RunLockedError as error:
        raise ConfigError("name", config.name, str(error)) from error
