"""environment.json: the versions, device and commit that a run, bench or probe was executed with."""

import contextlib
import json
import platform
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from resdepth import __version__
from resdepth.device import device_name
from resdepth.results.files.atomic import atomic_write_text

ENVIRONMENT = "environment.json"


def write(folder: Path, device: torch.device, *, is_continued: bool = False, **more: str) -> None:
    """Write what the numbers may depend on beside the configuration, and `more`; no paths.

    Where a continued run was started in another environment, that one is kept as `continued_from`.
    """
    path, is_cuda = folder / ENVIRONMENT, device.type == "cuda"
    environment = {
        "resdepth": __version__,
        "commit": _commit(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": _version("torchvision"),
        "cuda": torch.version.cuda if is_cuda else None,
        "cudnn": torch.backends.cudnn.version() if is_cuda else None,
        "numpy": _version("numpy"),
        "device": device.type,
        "device_name": device_name(device),
        "threads": torch.get_num_threads(),
        "system": f"{platform.system()} {platform.machine()}",
        **more,
    }
    earlier: dict[str, Any] = {}
    if is_continued:
        with contextlib.suppress(OSError, ValueError):
            earlier = json.loads(path.read_text(encoding="utf-8"))
    is_same = {**earlier, "continued_from": None} == {**environment, "continued_from": None}
    before = earlier.get("continued_from") if is_same else earlier
    content = environment | ({"continued_from": before} if before else {})
    atomic_write_text(path, json.dumps(content, indent=2) + "\n")


def _version(package: str) -> str | None:
    with contextlib.suppress(PackageNotFoundError):
        return version(package)
    return None


@cache
def _commit() -> str | None:
    """Return the commit of the checkout that is running, with + where it was edited; None for an installed wheel."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    outputs = []
    for words in (("rev-parse", "--short=12", "HEAD"), ("status", "--porcelain", "--", "resdepth", "configs")):
        try:
            done = subprocess.run(["git", "-C", root, *words], capture_output=True, text=True, timeout=10, check=True)
        except (OSError, subprocess.SubprocessError):
            return None
        outputs.append(done.stdout.strip())
    return outputs[0] + ("+" if outputs[1] else "")
