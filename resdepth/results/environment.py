"""environment.json: the versions, device and commit that a run, bench or probe was executed with."""

import contextlib
import json
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from resdepth import __version__
from resdepth.device import device_name
from resdepth.results.atomic import atomic_write_text

ENVIRONMENT = "environment.json"


def write(folder: Path, device: torch.device, *, is_continued: bool = False, **more: str) -> None:
    """Write environment.json into a folder: the environment of this process, and `more`.

    Where a continued run was started in another environment, that one is kept as `continued_from`.
    """
    path, environment = folder / ENVIRONMENT, {**describe(device), **more}
    earlier: dict[str, Any] = {}
    if is_continued:
        with contextlib.suppress(OSError, ValueError):
            earlier = json.loads(path.read_text(encoding="utf-8"))
    is_same = {**earlier, "continued_from": None} == {**environment, "continued_from": None}
    before = earlier.get("continued_from") if is_same else earlier
    content = environment | ({"continued_from": before} if before else {})
    atomic_write_text(path, json.dumps(content, indent=2) + "\n")


def describe(device: torch.device) -> dict[str, Any]:
    """Return what the numbers may depend on beside the configuration: versions, device, threads, commit. No paths."""
    return {
        "resdepth": __version__,
        "commit": _commit(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": _version("torchvision"),
        "cuda": torch.version.cuda if device.type == "cuda" else None,
        "cudnn": torch.backends.cudnn.version() if device.type == "cuda" else None,
        "numpy": _version("numpy"),
        "device": device.type,
        "device_name": device_name(device),
        "threads": torch.get_num_threads(),
        "system": f"{platform.system()} {platform.machine()}",
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _commit() -> str | None:
    """Return the commit of the checkout that is running, with + where it was edited; None for an installed wheel."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return None
    try:
        commit = _git(root, "rev-parse", "--short=12", "HEAD")
        return f"{commit}+" if _git(root, "status", "--porcelain", "--", "resdepth", "configs") else commit
    except (OSError, subprocess.SubprocessError):
        return None


def _git(root: Path, *words: str) -> str:
    done = subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, timeout=10, check=True)
    return done.stdout.strip()
