"""Skip tests where the platform lacks what they need."""

import os
import sys

import pytest

_IS_LINUX = sys.platform.startswith("linux")
_IS_ROOT = hasattr(os, "geteuid") and os.geteuid() == 0

posix = pytest.mark.skipif(os.name != "posix", reason="needs POSIX: fork, signals, terminals or limits")
linux = pytest.mark.skipif(not _IS_LINUX, reason="needs Linux: /proc, /dev/full, mounts or limits of memory")
file_modes = pytest.mark.skipif(
    os.name != "posix" or (_IS_ROOT and not _IS_LINUX),
    reason="needs POSIX file modes, and a user who is not root (on Linux root gives its rights up)",
)
