"""Generated overrides: a plan, or one printable line that says why not."""

import os
from pathlib import Path

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from support.fuzz import EXAMPLES, attempt

from resdepth.config.compose import expand
from resdepth.config.keys import known_keys
from resdepth.config.schema import GROUPS
from resdepth.errors import ResdepthError
from resdepth.sweep.plan import Plan, make_plan

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


@pytest.mark.slow
@settings(max_examples=max(10, EXAMPLES // 4))  # each composes a whole configuration
@given(st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=30))
@example("TRUE")
@example("2026.10")
def test_a_path_is_taken_as_it_is_written_or_refused(path):
    # What Hydra's grammar itself means by something: an axis, an interpolation, a space, a character taken literally.
    assume(not set(",\\") & set(path) and "${" not in path and not path.startswith("~"))
    sweep, error = attempt(lambda: expand([f"results={path}", "depth=8", "variant=plain"]), ResdepthError)
    assert error or {point.config.results for point in sweep.points} <= {path, path.strip(), path.strip().strip("'\"")}
