"""Skip tests where the platform lacks what they need."""

import os
import sys

import pytest

posix = pytest.mark.skipif(os.name != "posix", reason="needs POSIX: fork, signals, file modes or limits")
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux: /proc, mounts or capabilities")
