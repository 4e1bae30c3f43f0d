"""metrics.csv: its columns, what stands in them, and what is refused."""

import math
from dataclasses import replace

import pandas as pd
import pytest
from support.runs import RECORD

from resdepth.errors import RecordError
from resdepth.results.metrics import COLUMNS, MetricsWriter, read_rows, to_row, write_rows


def test_the_columns_are_the_schemas_in_order():
    expected = (
        "schema_version,dataset,model,variant,depth,shortcut,seed,epoch,iteration,lr,train_loss,train_error,"
        "train_error_clean,test_loss,test_error,epoch_seconds"
    )
    assert ",".join(COLUMNS) == expected


def test_a_row_is_on_disk_as_soon_as_it_is_written(tmp_path):
    path = tmp_path / "metrics.csv"
    with MetricsWriter(path) as metrics:
        for epoch in (1, 2):
            metrics.write(replace(RECORD, epoch=epoch))
            assert path.read_text().splitlines()[-1].split(",")[7] == str(epoch)


def test_appending_does_not_repeat_the_header(tmp_path):
    path = tmp_path / "metrics.csv"
    for epoch in (1, 2):
        with MetricsWriter(path) as metrics:
            metrics.write(replace(RECORD, epoch=epoch))
    assert [row.epoch for row in read_rows(path)] == [1, 2]


def test_what_is_written_is_read_again(tmp_path):
    path = tmp_path / "metrics.csv"
    rows = [
        replace(RECORD, test_loss=0.25, test_error=2.5, train_error_clean=0.0),
        replace(RECORD, epoch=2, train_loss=math.inf),
    ]
    write_rows(path, rows)
    # NaN is not equal to itself, so the texts are compared.
    assert [to_row(r) for r in read_rows(path)] == [to_row(r) for r in rows]


def test_what_was_not_measured_is_empty_and_a_loss_that_is_no_number_is_not():
    row = dict(zip(COLUMNS, to_row(replace(RECORD, train_loss=math.nan)), strict=True))
    assert (row["test_error"], row["train_error_clean"], row["train_loss"]) == ("", "", "nan")


def test_a_plain_nets_shortcut_is_none_in_lower_case_and_is_read_as_a_word(tmp_path):
    path = tmp_path / "metrics.csv"
    write_rows(path, [RECORD])
    assert read_rows(path)[0].shortcut == "none"
    assert pd.read_csv(path).shortcut[0] == "none"


def test_a_row_that_is_still_being_written_is_left_out(tmp_path):
    path = tmp_path / "metrics.csv"
    write_rows(path, [RECORD, replace(RECORD, epoch=2)])
    path.write_text(path.read_text()[:-9])
    assert [row.epoch for row in read_rows(path)] == [1]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda text: text.replace("train_error,", "", 1),
        lambda text: text.replace("plain,20", "plain,twenty"),
        lambda text: text.replace(",0.02,", ","),
        lambda text: text + text,
        lambda text: text + '"abc\n',
        lambda text: text.replace("\n1,", "\n2,"),
        lambda text: text.replace(",61.5,,", ",61.5,-1,"),
        lambda text: text.replace(",0.5\n", ",nan\n"),
        lambda text: text.replace("digits", "dig\0its").replace(",20,", ",\0,"),
    ],
    ids=[
        "a missing column",
        "a wrong type",
        "a short row",
        "a header twice",
        "a quote left open",
        "another schema",
        "a negative error",
        "an epoch of unknown length",
        "NUL bytes",
    ],
)
def test_a_damaged_file_is_refused_with_its_name(tmp_path, spoil):
    path = tmp_path / "metrics.csv"
    write_rows(path, [RECORD])
    path.write_text(spoil(path.read_text()))
    with pytest.raises(RecordError, match=r"metrics\.csv"):
        read_rows(path)
