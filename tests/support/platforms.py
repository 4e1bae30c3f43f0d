"""Skip tests where the platform lacks what they need."""

import os
import sys

import pytest

IS_LINUX = sys.platform.startswith("linux")

posix = pytest.mark.skipif(os.name != "posix", reason="needs POSIX: signals, fork, or the files of /dev")
linux = pytest.mark.skipif(
    not IS_LINUX, reason="needs Linux: /proc, /dev/full, mounts, capabilities, or fork after torch has been loaded"
)
