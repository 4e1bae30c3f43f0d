"""Generated input: whatever the bytes or the words, what is read is valid, or one printable line says why not.

RESDEPTH_EXAMPLES sets how many examples each test tries; in the short form they are the same ones every time.
"""

import functools
import io
import json
import math
import os
import pickle
import sys
from hashlib import sha256
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from resdepth.cli.main import main
from resdepth.config.compose import expand
from resdepth.config.keys import known_keys
from resdepth.config.schema import GROUPS, RunConfig
from resdepth.errors import RecordError, ResdepthError, RunError
from resdepth.results import checkpoint
from resdepth.results.metrics import COLUMNS, SCHEMA_VERSION, EpochRecord, read_rows, to_row, write_rows
from resdepth.results.table import read_results
from resdepth.sweep.plan import Plan, make_plan

EXAMPLES = int(os.environ.get("RESDEPTH_EXAMPLES", "50"))
settings.register_profile(
    "resdepth",
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=EXAMPLES <= 50,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
)
settings.load_profile("resdepth")


PIECES = [b"\n", b",", b'"', b"nan", b"-", b"1e999", b"\0"]


@st.composite
def mutated(draw, good: bytes):
    """Good bytes with a few of them flipped, cut, put in, or lines of them said twice."""
    whole = bytearray(good)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(0, len(whole) - 1)))
        kind = draw(st.sampled_from(["flip", "cut", "insert", "line", "end"]))
        if kind == "flip" and whole:
            whole[at] ^= draw(st.integers(1, 255))
        elif kind == "cut":
            del whole[at : at + draw(st.integers(1, 40))]
        elif kind == "insert":
            whole[at:at] = draw(st.binary(max_size=8) | st.sampled_from(PIECES))
        elif kind == "line":
            lines = bytes(whole).splitlines(keepends=True)
            where = draw(st.integers(0, max(0, len(lines) - 1)))
            whole = bytearray(b"".join([*lines[:where], *lines[where : where + 1] * 2, *lines[where + 1 :]]))
        else:
            del whole[at:]
    return bytes(whole)


def attempt(call, refusal):
    """What `call` returns and None, or None and the refusal it raised, which is one printable line."""
    try:
        return call(), None
    except refusal as error:
        caught = error
    assert str(caught)
    assert str(caught).isprintable()
    return None, caught


# --- The CSV, and the other files of a run


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


GOOD = [
    EpochRecord(SCHEMA_VERSION, "digits", "conv", "plain", 20, "none", 0, epoch, 12 * epoch, 0.02, 2.25, 61.5,
                math.nan, 2.0, 60.0, 0.5)
    for epoch in (1, 2, 3)
]  # fmt: skip
CSV = "\n".join(",".join(line) for line in [COLUMNS, *map(to_row, GOOD)]).encode() + b"\n"
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


# --- The override line


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


KEYS = [
    *known_keys(),
    *GROUPS,
    "hydra",
    "hydra/launcher",
    "hydra.launcher.n_jobs",
    "hydra.sweeper.params.depth",
    "nope",
]
VALUES = [
    "8", "8,14", "plain", "digits", "npz", "short", "null", "nan", "inf", "-1", "1e999", "true", "A", "???", "''", '""',
    "range(", "range(0,9)", "range(0,1e9)", "range(0,1,1e-300)", "choice(", "choice(8,14)", "interval(0,1)", "glob(*)",
    "shuffle(", "sort(", "int(", "float(", "str(", "json_str(", "tag(a,", "extend_list(",
    "${", "${seed}", "${name}", "${oc.env:HOME}", "${oc.env:NOPE,8}", "${oc.decode:'[8]'}", "${oc.create:{a:1}}",
    "${hydra:run.dir}", "${oc.dict.keys:data}", "${.}", "${..}", "${oc.select:seed}",
]  # fmt: skip
CHARACTERS = list(",=[]{}()$~+:'\"\\@/.*-# \t\n\x00\x1b\udcff²é")
pieces = st.sampled_from(VALUES) | st.sampled_from(CHARACTERS) | st.sampled_from(KEYS)
overrides = st.lists(
    st.text(max_size=30)
    | st.builds("".join, st.lists(pieces, max_size=6))
    | st.builds(
        lambda mark, key, value: f"{mark}{key}={''.join(value)}",
        st.sampled_from(["", "", "", "+", "++", "~"]), st.sampled_from(KEYS), st.lists(pieces, min_size=1, max_size=3),
    ),
    min_size=1, max_size=3,
)  # fmt: skip


@given(overrides)
@example(["seed=range(0,100000000)"])
@example(["depth=shuffle(range(0,100000000))"])
@example(["recipe.lr=range(0,1,1e-300)"])
@example(["seed=range(0,1000)", "recipe.epochs=range(1,1000)"])
@example(["depth=" + "[" * 1000 + "]" * 1000])
@example(["+hydra.callbacks.x._target_=os.system"])
@example(["name=???"])
def test_any_override_line_is_a_plan_or_one_line(tmp_path_factory, overrides):
    work = tmp_path_factory.getbasetemp() / "overrides"
    work.mkdir(exist_ok=True)
    before = Path.cwd()
    os.chdir(work)
    try:
        plan, error = attempt(lambda: make_plan(overrides), ResdepthError)
    finally:
        os.chdir(before)
    assert not list(work.iterdir())
    if error:
        assert error.exit_code == 2
    else:
        assert isinstance(plan, Plan)
        assert 1 <= len(plan.runs) <= 10_000
        # Nothing leaves the results folder that the line names.
        for run in plan.runs:
            assert run.directory.parent.parent == Path(run.config.results).expanduser()


@settings(max_examples=max(10, EXAMPLES // 4))  # each composes a whole configuration
@given(st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=30))
@example("TRUE")
@example("2026.10")
def test_a_path_is_taken_as_it_is_written_or_refused(path):
    # What Hydra's grammar itself means by something: an axis, an interpolation, a space, a character taken literally.
    assume(not set(",\\") & set(path) and "${" not in path and not path.startswith("~"))
    sweep, error = attempt(lambda: expand([f"results={path}", "depth=8", "variant=plain"]), ResdepthError)
    assert error or {point.config.results for point in sweep.points} <= {path, path.strip(), path.strip().strip("'\"")}


# --- The checkpoint

CONFIGURED = RunConfig(depth=8, variant="plain")
STATE = {"net": {"w": torch.arange(6.0)}, "epoch": 2, "train_error": 1.5}


class Dangerous:
    """Unpickled, it would leave a file."""

    def __reduce__(self):
        return (Path.touch, (Path("executed"),))


def whole(payload):
    """The payload with the header that vouches for it."""
    return b"resdepth-checkpoint 2 " + sha256(payload).hexdigest().encode() + b"\n" + payload


def saved(content):
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def good_checkpoint(folder):
    checkpoint.save(folder / "good.pt", CONFIGURED, STATE)
    return (folder / "good.pt").read_bytes()


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    return good_checkpoint(tmp_path_factory.mktemp("checkpoint"))


def load_or_refuse(folder, content):
    """The state, or None where it is refused in one line; nothing is executed."""
    before = Path.cwd()
    os.chdir(folder)
    try:
        Path("checkpoint.pt").write_bytes(content)
        load = functools.partial(checkpoint.load, Path("checkpoint.pt"), CONFIGURED, torch.device("cpu"))
        state, error = attempt(load, RunError)
    finally:
        os.chdir(before)
    assert not (folder / "executed").exists()
    assert error is None or "checkpoint.pt" in str(error)
    return state


@given(st.data())
def test_a_checkpoint_of_other_bytes_is_refused_unless_it_is_whole(tmp_path, good, data):
    content = data.draw(st.binary(max_size=200) | mutated(good))
    assume(content != good)
    assert load_or_refuse(tmp_path, content) is None


@given(st.data())
def test_a_payload_that_its_header_vouches_for_is_a_state_or_refused(tmp_path, good, data):
    payload = data.draw(st.binary(max_size=200) | mutated(good.partition(b"\n")[2]))
    state = load_or_refuse(tmp_path, whole(payload))
    assert state is None or isinstance(state, dict)


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(plain)
@example({"identity": {}, "state": [Dangerous()]})
@example({"identity": [], "state": {}})
@example({"identity": {"depth": "\n\x1b"}, "state": {}})
@example({"identity": {"depth": 8}, "state": None})
@example(Dangerous())
def test_a_payload_of_other_content_executes_nothing(tmp_path, content):
    for payload in (saved(content), pickle.dumps(content), json.dumps(content, default=repr).encode()):
        assert load_or_refuse(tmp_path, whole(payload)) is None


def test_a_good_checkpoint_is_loaded(tmp_path, good):
    assert load_or_refuse(tmp_path, good)["epoch"] == 2


def test_what_the_examples_call_dangerous_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pickle.loads(pickle.dumps(Dangerous()))
    assert Path("executed").exists()
