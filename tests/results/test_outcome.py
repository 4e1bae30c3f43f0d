"""outcome.json: read again as written, absent while a run runs."""

import pytest

from resdepth.errors import RecordError
from resdepth.results.outcome import Outcome, read_outcome, write_outcome


def test_an_outcome_is_read_again_and_absent_while_a_run_runs(tmp_path):
    assert read_outcome(tmp_path) is None
    write_outcome(tmp_path, Outcome("diverged", 1.5))
    assert read_outcome(tmp_path) == Outcome("diverged", 1.5)
    (tmp_path / "outcome.json").write_text("{")
    with pytest.raises(RecordError, match=r"outcome\.json"):
        read_outcome(tmp_path)
