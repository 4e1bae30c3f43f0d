"""Generated checkpoints: a state, or refused in one line; nothing is executed."""

import functools
import io
import json
import os
import pickle
from hashlib import sha256
from pathlib import Path

import pytest
import torch
from hypothesis import assume, example, given
from hypothesis import strategies as st
from support.fuzz import attempt, mutated

from resdepth.config.schema import RunConfig
from resdepth.errors import RunError
from resdepth.results import checkpoint

CONFIGURED = RunConfig(depth=8, variant="plain")
STATE = {"net": {"w": torch.arange(6.0)}, "epoch": 2, "train_error": 1.5}


class Dangerous:
    """Unpickled, it would leave a file."""

    def __reduce__(self):
        return (Path.touch, (Path("executed"),))


def whole(payload):
    """The payload with the seal that vouches for it."""
    return payload + b"resdepth-checkpoint 4 " + sha256(payload).hexdigest().encode()


def whole_in_format_3(payload):
    """The payload with the line before it that vouches for it in checkpoints of an earlier version."""
    return b"resdepth-checkpoint 3 " + sha256(payload).hexdigest().encode() + b"\n" + payload


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
def test_a_payload_that_its_seal_vouches_for_is_a_state_or_refused(tmp_path, good, data):
    payload = data.draw(st.binary(max_size=200) | mutated(good.rpartition(b"resdepth-checkpoint")[0]))
    for seal in (whole, whole_in_format_3):
        state = load_or_refuse(tmp_path, seal(payload))
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
        assert load_or_refuse(tmp_path, whole_in_format_3(payload)) is None


def test_a_good_checkpoint_is_loaded(tmp_path, good):
    assert load_or_refuse(tmp_path, good)["epoch"] == 2


def test_what_the_examples_call_dangerous_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pickle.loads(pickle.dumps(Dangerous()))
    assert Path("executed").exists()
