"""A checkpoint is whole or not there: written aside, synced, renamed; checked before it is believed.

The file is one line, `resdepth-checkpoint 1 <SHA-256 of the rest>`, and torch's format, read with `weights_only=True`.
"""

import io
import os
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch

from resdepth.errors import RunError

_MAGIC = b"resdepth-checkpoint 1 "


def save(path: Path, state: dict[str, Any]) -> None:
    """Replace the checkpoint at `path`; after a crash at any moment there is the old one or the new one."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    payload = buffer.getbuffer()
    aside = path.with_name(path.name + ".part")
    with aside.open("wb") as file:
        file.write(_MAGIC + sha256(payload).hexdigest().encode() + b"\n")
        file.write(payload)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)


def load(path: Path, device: torch.device) -> dict[str, Any]:
    """The state saved at `path`. Raises RunError, with the remedy, for a file that is damaged or something else."""
    whole = path.read_bytes()
    line, _, payload = whole.partition(b"\n")
    if not line.startswith(_MAGIC) or line[len(_MAGIC) :] != sha256(payload).hexdigest().encode():
        raise RunError(f"{path}: the checkpoint is damaged; remove it and its run starts over")
    try:
        return torch.load(io.BytesIO(payload), map_location=device, weights_only=True)
    except Exception as error:  # torch raises many kinds; none of them may pass for a run that went wrong
        raise RunError(f"{path}: the checkpoint cannot be read ({error}); remove it and its run starts over") from error
