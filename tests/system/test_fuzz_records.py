"""Generated files of a run: valid rows, or one printable line that names the file."""

import math
import sys

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.fuzz import CSV, attempt, mutated

from resdepth.cli.main import main
from resdepth.errors import RecordError
from resdepth.results.metrics import COLUMNS, SCHEMA_VERSION, EpochRecord, read_rows, to_row, write_rows
from resdepth.results.table import read_results


def number(low, high):
    return st.floats(low, high, allow_nan=False)


@st.composite
def records(draw):
    """The rows of a run, as the program would write them."""
    text = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,9}", fullmatch=True)
    count = draw(st.integers(0, 6))
    same = {
        "dataset": draw(text),
        "model": draw(text),
        "variant": draw(text),
        "depth": draw(st.integers(8, 20_000)),
        "shortcut": draw(st.sampled_from(["A", "B", "C", "none"])),
        "seed": draw(st.integers(0, 2**31 - 1)),
    }
    unmeasured = st.just(math.nan)
    return [
        EpochRecord(
            schema_version=SCHEMA_VERSION,
            **same,
            epoch=epoch,
            iteration=12 * epoch,
            lr=draw(number(1e-9, 1000)),
            train_loss=draw(st.floats(0)),
            train_error=draw(number(0, 100)),
            train_error_clean=draw(number(0, 100) | unmeasured),
            test_loss=draw(st.floats(0)),
            test_error=draw(number(0, 100) | unmeasured),
            epoch_seconds=draw(number(0, 1e9)),
        )
        for epoch in range(1, count + 1)
    ]


CONFIG = b"depth: 20\nvariant: plain\nseed: 0\ndata:\n  name: digits\n  limit: null\nmodel:\n  name: conv\n"
CONFIG += b"recipe:\n  name: digits\n  lr: 0.02\n  epochs: 3\n  iterations: null\n  milestones: [0.5, 0.75]\n"
OUTCOME = b'{"state": "finished", "seconds": 1.5, "message": ""}\n'


@given(st.binary(max_size=400) | mutated(CSV))
@example(CSV.replace(b",0.5\n", b",inf\n"))
@example(CSV.replace(b"plain", b'"pl\nain"'))
@example(CSV.replace(b"plain", "pl\u2028ain".encode()))
@example(CSV.replace(b",20,", b"," + b"9" * 5_000 + b","))
def test_a_csv_of_any_bytes_is_valid_rows_or_one_line_that_names_it(tmp_path, content):
    path = tmp_path / "metrics.csv"
    path.write_bytes(content)
    rows, error = attempt(lambda: read_rows(path), RecordError)
    if error:
        assert "metrics.csv" in str(error)
        return
    assert [row.epoch for row in rows] == list(range(1, len(rows) + 1))
    assert all(math.isfinite(row.epoch_seconds) and 0 <= row.train_error <= 100 and row.depth >= 0 for row in rows)
    write_rows(path, rows)
    assert [to_row(row) for row in read_rows(path)] == [to_row(row) for row in rows]


@given(records())
def test_rows_are_read_as_they_were_written_to_seven_digits(tmp_path, rows):
    path = tmp_path / "metrics.csv"
    write_rows(path, rows)
    again = read_rows(path)
    assert len(again) == len(rows)
    for one, other in zip(rows, again, strict=True):
        for name in COLUMNS:
            before, after = getattr(one, name), getattr(other, name)
            assert type(before) is type(after)
            if isinstance(before, float):
                assert math.isclose(before, after, rel_tol=1e-6) or (math.isnan(before) and math.isnan(after))
            else:
                assert before == after


@given(st.sampled_from(["metrics.csv", "config.yaml", "outcome.json"]), st.data())
def test_a_run_of_any_bytes_is_a_table_or_one_line_and_can_be_summed_up(tmp_path, capsys, name, data):
    files = {"metrics.csv": CSV, "config.yaml": CONFIG, "outcome.json": OUTCOME}
    files[name] = data.draw(st.binary(max_size=200) | mutated(files[name]))
    folder = tmp_path / "results" / "digits" / "plain-20-s0"
    folder.mkdir(parents=True, exist_ok=True)
    for file, content in files.items():
        (folder / file).write_bytes(content)
    table, problems = read_results(tmp_path / "results")
    assert len(problems) <= 1
    assert all(name in line and line.isprintable() for line in problems)
    assert table.empty or not problems
    assert set(table.state) <= {"finished", "diverged", "failed"}
    code, out, err = said(capsys, "summary", tmp_path / "results")
    assert code == (2 if table.empty else 0)
    assert err.count("\n") == (1 if table.empty else 0)
    assert bool(out) != table.empty


def said(capsys, *words):
    """Exit code, standard output and error of the command in this process."""
    before = sys.argv
    sys.argv = ["resdepth", *map(str, words)]
    try:
        with pytest.raises(SystemExit) as ended:
            main()
    finally:
        sys.argv = before
    return ended.value.code, *capsys.readouterr()
