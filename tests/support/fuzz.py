"""Generated input: what every such test shares."""

import math
import os

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from resdepth.results.metrics import COLUMNS, SCHEMA_VERSION, EpochRecord, to_row

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


GOOD = [
    EpochRecord(SCHEMA_VERSION, "digits", "conv", "plain", 20, "none", 0, epoch, 12 * epoch, 0.02, 2.25, 61.5,
                math.nan, 2.0, 60.0, 0.5)
    for epoch in (1, 2, 3)
]  # fmt: skip


CSV = "\n".join(",".join(line) for line in [COLUMNS, *map(to_row, GOOD)]).encode() + b"\n"
