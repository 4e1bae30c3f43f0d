"""What the tests of interrupted sweeps compare with."""

import pytest
from support.commands import command
from support.processes import WORDS
from support.runs import all_rows


@pytest.fixture(scope="session")
def uninterrupted(tmp_path_factory):
    """The rows of the sweep of WORDS where nothing interrupts it, by run."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    assert command(*WORDS, "-q", cwd=folder).returncode == 0
    return all_rows(folder)
