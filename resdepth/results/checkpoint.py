"""checkpoint.pt, from which a run continues, and weights/epoch-N.safetensors, which other programs read too.

Both are written atomically (temporary file, fsync, rename). A checkpoint is a file of `torch.save` that
`torch.load(path, weights_only=True)` opens, so that nothing in it is executed: a ZIP archive, whose comment is
`resdepth-checkpoint 4 <SHA-256 of all before it>`, verified before anything is loaded. (Format 3 has this text as a
line before the archive, and is still read.) Both hold their run's identity and fit no other run.
"""

import io
import json
import time
import warnings
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext, suppress
from hashlib import sha256
from itertools import accumulate
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as from_safetensors
from safetensors.torch import save as to_safetensors
from torch import Tensor

from resdepth.config.keys import run_identity
from resdepth.config.schema import RunConfig
from resdepth.errors import RecordError, RunError
from resdepth.host import signals_deferred, use_all_cores
from resdepth.results.files.atomic import atomic_open
from resdepth.results.run_directory import WEIGHTS, describe_differences

CHECKPOINT = "checkpoint.pt"
# A checkpoint may cost this share of the time since the last one; a kill may cost this share of the time trained.
_MOST_COST, _MOST_LOSS = 0.05, 0.01
_MAGIC, _FORMAT, _OLD_FORMAT = b"resdepth-checkpoint ", b"4", b"3"
_SEAL_BYTES = len(_MAGIC) + len(_FORMAT) + 1 + 64
_ZIP = b"PK"  # the first bytes of a ZIP archive
_REMEDY = "remove it and its run starts over"


class CheckpointWriter:
    """Writes a run's checkpoints in a thread, while training goes on.

    `keep` copies the state of a whole epoch, on its device; `save` writes it. Where the `with` block is left because
    the program is stopped (Ctrl-C, a signal), the state kept last is written first. `sync` is called before each
    checkpoint, so that its rows are on disk; `as_current` makes the run's stream the current one, as for `keep`. An
    exception in the thread is raised by the next `save`, or at the end of the `with` block, which waits for the last
    checkpoint.
    """

    def __init__(
        self, path: Path, config: RunConfig, sync: Callable[[], None],
        as_current: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:  # fmt: skip
        self._path, self._config, self._sync, self._as_current = path, config, sync, as_current
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint", initializer=use_all_cores)
        self._writing: Future[None] | None = None
        self._buffer = torch.empty(0)
        self._copies: dict[str, Tensor] = {}
        self._kept: dict[str, Any] = {}
        self._is_kept_saved = True
        self._started = self._saved = time.monotonic()
        self._cost = 0.0  # seconds that the last checkpoint took

    @property
    def is_due(self) -> bool:
        """Whether `checkpoint_seconds` have passed since the last checkpoint, or enough time that one costs little.

        A kill then loses, besides the epoch under way, a hundredth of the time trained so far, or 20 times what a
        checkpoint takes.
        """
        if self._writing is not None and not self._writing.done():
            return False
        now = time.monotonic()
        cheap = max(self._cost / _MOST_COST, (now - self._started) * _MOST_LOSS)
        return now - self._saved >= min(self._config.checkpoint_seconds, cheap)

    def reserve(self, state: dict[str, Any]) -> None:
        """Allocate the copies before training: a run that has started needs no more memory later.

        They lie in one buffer, which a GPU copies to host memory at once; a net has hundreds of tensors, of one type.
        """
        tensors: dict[str, Tensor] = state["tensors"]
        (place,) = {(tensor.dtype, tensor.device) for tensor in tensors.values()}
        self._buffer = torch.empty(sum(map(Tensor.numel, tensors.values())), dtype=place[0], device=place[1])
        self._copies = _views(self._buffer, tensors)

    def keep(self, state: dict[str, Any]) -> None:
        """Copy the state: training goes on to change its tensors in place."""
        if not self._copies:
            self.reserve(state)
        tensors = [state["tensors"][name].detach() for name in self._copies]
        # In the order of memory, whatever their dimensions'.
        torch.cat([tensor.as_strided((tensor.numel(),), (1,)) for tensor in tensors], out=self._buffer)
        self._kept, self._is_kept_saved = {**state, "tensors": self._copies}, False

    def save(self) -> None:
        """Copy the state that was kept to host memory and write it in the thread. Waits for the one before it."""
        if self._writing is not None:
            self._writing.result()
        self._saved, self._is_kept_saved = time.monotonic(), True
        self._writing = self._thread.submit(self._write, self._on_host(), self._saved)

    def _on_host(self) -> dict[str, Any]:
        return {**self._kept, "tensors": _views(self._buffer.to("cpu", copy=True), self._copies)}

    def _write(self, state: dict[str, Any], started: float) -> None:
        self._sync()
        save(self._path, self._config, state)
        self._cost = time.monotonic() - started

    def __enter__(self) -> "CheckpointWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with signals_deferred():
            self._thread.shutdown(wait=True)
            is_stopped = kind is not None and not issubclass(kind, Exception)
            if is_stopped and not self._is_kept_saved:
                # Where the disk is full, the checkpoint before this one stays.
                with suppress(Exception), self._as_current():
                    self._write(self._on_host(), time.monotonic())
        if kind is None and self._writing is not None:
            self._writing.result()


def _views(buffer: Tensor, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return parts of a buffer with the names, shapes and strides of the tensors, one behind the other."""
    offsets = accumulate((tensor.numel() for tensor in tensors.values()), initial=0)
    parts = zip(tensors.items(), offsets, strict=False)
    return {name: buffer.as_strided(tensor.size(), tensor.stride(), offset) for (name, tensor), offset in parts}


def save(path: Path, config: RunConfig, state: dict[str, Any]) -> None:
    """Replace the checkpoint at `path` atomically."""
    buffer = io.BytesIO()
    torch.save({"identity": run_identity(config), "state": state}, buffer)
    archive = buffer.getbuffer()
    # An archive ends in the length of its comment, two bytes, and the comment, of which torch writes none.
    archive[-2:] = _SEAL_BYTES.to_bytes(2, "little")
    with atomic_open(path) as file:
        file.write(archive)
        file.write(_seal(_FORMAT, archive))


def load(path: Path, config: RunConfig, device: torch.device) -> dict[str, Any]:
    """Load the state saved at `path`, executing nothing. Raises RunError for a damaged file and another run's."""
    archive = _verified(path)
    try:
        with warnings.catch_warnings():
            # torch also warns of a foreign pickle, which the error below reports.
            warnings.simplefilter("ignore")
            content = torch.load(io.BytesIO(archive), map_location=device, weights_only=True)
        there, state = content["identity"], content["state"]
        difference = describe_differences(there, config)
    except Exception as error:  # torch raises many kinds, none of which may look like an error of the run
        raise RunError(f"{path}: the checkpoint cannot be read safely ({type(error).__name__}); {_REMEDY}") from error
    if difference:
        raise RunError(f"{path}: is of another run ({difference}); {_REMEDY}")
    return state


def _seal(form: bytes, archive: bytes | memoryview) -> bytes:
    """Return the text that vouches for an archive."""
    return _MAGIC + form + b" " + sha256(archive).hexdigest().encode()


def _verified(path: Path) -> bytes:
    """Return the archive of a checkpoint whose seal is right. Raises RunError for any other file."""
    content = path.read_bytes()
    seal, form, archive = content[-_SEAL_BYTES:], _FORMAT, content[:-_SEAL_BYTES]
    if content.startswith(_MAGIC):
        seal, _, archive = content.partition(b"\n")
        form = _OLD_FORMAT
    words = seal.removeprefix(_MAGIC).split(b" ")
    if not seal.startswith(_MAGIC) or len(words) != 2:
        problem = "the checkpoint is damaged" if content.startswith(_ZIP) else "is not a checkpoint of this program"
        raise RunError(f"{path}: {problem}; {_REMEDY}")
    if words[0] != form:
        found = f"is of format {words[0][:9].decode('ascii', 'replace')!r}, not {_FORMAT.decode()}"
        raise RunError(f"{path}: {found}; continue it with the version of resdepth that wrote it, or {_REMEDY}")
    if seal != _seal(form, archive):
        raise RunError(f"{path}: the checkpoint is damaged; {_REMEDY}")
    return archive if form == _OLD_FORMAT else content


def weights_path(folder: Path, epoch: int) -> Path:
    """Return the file of a run's weights after this epoch."""
    return folder / WEIGHTS / f"epoch-{epoch}.safetensors"


def save_weights(folder: Path, config: RunConfig, epoch: int, tensors: Mapping[str, Tensor]) -> None:
    """Write the net's tensors, float32, with the run's identity as metadata."""
    path = weights_path(folder, epoch)
    path.parent.mkdir(exist_ok=True)
    content = {name: tensor.detach().to("cpu").contiguous() for name, tensor in tensors.items()}
    # Under one key: the order of several would differ from file to file.
    metadata = {"resdepth": json.dumps({"epoch": epoch, "identity": run_identity(config)})}
    with atomic_open(path) as file:
        file.write(to_safetensors(content, metadata))


def load_weights(path: Path, config: RunConfig) -> dict[str, Tensor]:
    """Read a net's tensors on the CPU. Raises RecordError for a damaged file and for those of another run."""
    remedy = "remove it, and train its run again with keep_weights=last --restart"
    try:
        # Not by its path, which need not be UTF-8.
        content = path.read_bytes()
    except OSError as error:
        raise RecordError(f"{path}: cannot be read ({error.strerror}); fix that") from error
    try:
        tensors = from_safetensors(content)
        # The format: the length of a header in JSON, the header, the tensors.
        size = int.from_bytes(content[:8], "little")
        metadata = json.loads(json.loads(content[8 : 8 + size])["__metadata__"]["resdepth"])
        difference = describe_differences(metadata["identity"], config)
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise RecordError(f"{path}: is not a file of weights ({type(error).__name__}); {remedy}") from error
    if difference or path != weights_path(path.parent.parent, metadata.get("epoch")):
        difference = difference or f"of epoch {metadata.get('epoch')}"
        raise RecordError(f"{path}: is of another run ({difference}); {remedy}")
    return tensors
