"""A checkpoint is whole or not there: written aside, synced, renamed; checked before it is believed.

The file is one line, `resdepth-checkpoint 2 <SHA-256 of the rest>`, and torch's format, read with `weights_only=True`.
It names the run it belongs to, so that it continues no other.
"""

import io
import warnings
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch

from resdepth.config.keys import run_identity
from resdepth.config.schema import RunConfig
from resdepth.errors import RunError
from resdepth.results.atomic import atomic_open
from resdepth.results.run_directory import describe_differences

CHECKPOINT = "checkpoint.pt"
_FORMAT = 2
_MAGIC = b"resdepth-checkpoint "
_OVER = "remove it and its run starts over"


class CheckpointWriter:
    """Writes a run's checkpoints beside its training: `save` copies the state and returns, a thread does the rest.

    `sync` is called before each checkpoint, to have its rows on the disk first. What goes wrong in the thread is
    raised by the next `save` or at the end of the `with` block, which waits for the last checkpoint.
    """

    def __init__(self, path: Path, config: RunConfig, sync: Callable[[], None]) -> None:
        self._path, self._config, self._sync = path, config, sync
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")
        self._writing: Future[None] | None = None

    @property
    def is_busy(self) -> bool:
        return self._writing is not None and not self._writing.done()

    def save(self, state: dict[str, Any]) -> None:
        """Have this state written. Waits for the checkpoint before it."""
        self._wait()
        self._writing = self._thread.submit(self._write, _copied(state))

    def _write(self, state: dict[str, Any]) -> None:
        self._sync()
        save(self._path, self._config, state)

    def _wait(self) -> None:
        writing, self._writing = self._writing, None
        if writing is not None:
            writing.result()

    def __enter__(self) -> "CheckpointWriter":
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._thread.shutdown(wait=True)
        if kind is None:
            self._wait()


def _copied(value: Any) -> Any:
    """The state as it is at this moment, in host memory: training changes its tensors in place."""
    if isinstance(value, torch.Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, dict):
        return {key: _copied(part) for key, part in value.items()}
    return [_copied(part) for part in value] if isinstance(value, list) else value


def save(path: Path, config: RunConfig, state: dict[str, Any]) -> None:
    """Replace the checkpoint at `path`; after a crash at any moment there is the old one or the new one."""
    buffer = io.BytesIO()
    torch.save({"identity": run_identity(config), "state": state}, buffer)
    payload = buffer.getbuffer()
    with atomic_open(path) as file:
        file.write(_MAGIC + f"{_FORMAT} {sha256(payload).hexdigest()}\n".encode())
        file.write(payload)


def load(path: Path, config: RunConfig, device: torch.device) -> dict[str, Any]:
    """The state saved at `path`. Nothing in the file is executed.

    Raises RunError, with the remedy, for a file that is damaged, of another version, of another run, or no checkpoint.
    """
    whole = path.read_bytes()
    line, _, payload = whole.partition(b"\n")
    words = line.removeprefix(_MAGIC).split(b" ")
    if not line.startswith(_MAGIC) or len(words) != 2:
        raise RunError(f"{path}: is no checkpoint of this program; {_OVER}")
    if words[0] != str(_FORMAT).encode():
        raise RunError(
            f"{path}: is of format {words[0][:9].decode('ascii', 'replace')!r}, not {_FORMAT}; continue it with the "
            f"version of resdepth that wrote it, or {_OVER}"
        )
    if words[1] != sha256(payload).hexdigest().encode():
        raise RunError(f"{path}: the checkpoint is damaged; {_OVER}")
    try:
        with warnings.catch_warnings():
            # Of a pickle that is none of ours torch also warns; the line below says it.
            warnings.simplefilter("ignore")
            content = torch.load(io.BytesIO(payload), map_location=device, weights_only=True)
        there, state = content["identity"], content["state"]
        odd = describe_differences(there, config)
    except Exception as error:  # torch raises many kinds; none of them may pass for a run that went wrong
        raise RunError(f"{path}: the checkpoint cannot be read safely ({type(error).__name__}); {_OVER}") from error
    if odd:
        raise RunError(f"{path}: is of another run ({odd}); {_OVER}")
    return state
