"""The README tells the truth: its tables are the program's, its keys, columns, commands and figures exist."""

import math
import re
import shlex
from dataclasses import fields

import pandas as pd
import pytest
from support.commands import ROOT, command, forked_command

from resdepth.bench import findings
from resdepth.bench.rows import BusyCost, ScaleCost, StepCost, SweepTime
from resdepth.cli.app import app
from resdepth.config.keys import known_keys
from resdepth.config.schema import GROUPS
from resdepth.probes.rows import PROBES
from resdepth.results.metrics import EpochRecord
from resdepth.sweep.plan import make_plan
from resdepth.variants import VARIANTS

README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"<!-- resdepth ([^\n]*?) -->\n```\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize(("words", "block"), BLOCKS, ids=[words for words, _ in BLOCKS])
def test_every_table_of_results_is_the_programs_own(words, block):
    printed = {line.strip() for line in forked_command(*shlex.split(words)).stdout.splitlines()}
    lines = [line.strip() for line in block.splitlines() if line.strip()]
    assert len(lines) > 2
    assert [line for line in lines if line not in printed] == []


TABLES = re.findall(r"<!-- resdepth (probe table .*?) -->\n((?:\|.*\n)+)", README)


@pytest.mark.parametrize(("words", "table"), TABLES, ids=[words for words, _ in TABLES])
def test_the_table_of_claims_is_the_programs_own(words, table):
    assert table.splitlines() == forked_command(*shlex.split(words)).stdout.splitlines()


def test_there_is_a_table_of_claims_with_every_probe():
    ((words, table),) = TABLES
    assert all(probe.claim in table for probe in PROBES.values())
    # The whole one begins with the same sentences.
    whole = forked_command(*shlex.split(words), "--all").stdout.splitlines()
    for line, longer in zip(table.splitlines(), whole, strict=True):
        assert longer.startswith(re.split(r"<br>\d+ more:", line)[0].rstrip(" |"))
    assert len(whole[2]) > len(table.splitlines()[2])


BENCHES = re.findall(r"<!-- bench (.*?) -->\n```\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize(("path", "block"), BENCHES, ids=[path for path, _ in BENCHES])
def test_every_line_of_a_bench_is_its_csvs_own(path, block):
    file = ROOT / path
    rows = pd.read_csv(file, na_filter=False).to_dict("records")
    if file.name == "sweep.csv":
        said = [findings.sweep_line(SweepTime(**row)) for row in rows]
    elif file.name == "busy.csv":
        busy = [BusyCost(**row) for row in rows]
        said = [findings.busy_line(*pair) for pair in zip(busy[::2], busy[1::2], strict=True)]
    elif file.name == "scale.csv":
        said = [findings.scale_line(ScaleCost(**row)) for row in rows]
    else:
        costs = [StepCost(**row) for row in rows]
        said = [*map(findings.line, costs), *findings.findings(costs)]
    lines = block.splitlines()
    assert len(lines) > 2
    assert [line for line in lines if line not in said] == []


def test_the_costs_of_ten_thousand_runs_follow_from_what_was_measured():
    (path,) = [path for path, _ in BENCHES if path.endswith("scale.csv")]
    costs = pd.read_csv(ROOT / path).set_index("step")
    runs, jobs = costs.runs.max(), costs.jobs.submit
    (table,) = [block for words, block in BLOCKS if words == "summary results/published/digits"]
    (seconds,) = re.findall(r"^residual +20 .* (\d+) s$", table, re.MULTILINE)
    words = " ".join(README.split("What such a sweep costs", 1)[1].split("\n## ", 1)[0].split())
    assert f"are {jobs} jobs of {math.ceil(runs / jobs)} runs" in words
    assert costs.files["continue"] == 4 * runs
    assert "Four small files a run" in words
    assert f"20 layers takes {seconds} s on one core" in words
    assert f"ten thousand take {runs * int(seconds) / 3600:.0f} core hours" in words


@pytest.mark.parametrize("path", [path for path, _ in BENCHES if path.endswith("busy.csv")])
def test_pinned_threads_lose_nothing_on_an_idle_machine_and_little_beside_a_busy_process(path):
    busy = [BusyCost(**row) for row in pd.read_csv(ROOT / path).to_dict("records")]
    for pinned, unpinned in zip(busy[::2], busy[1::2], strict=True):
        assert (pinned.pinned, unpinned.pinned) == (True, False)
        assert pinned.ratio < 2.5
        assert pinned.idle_ms < 1.05 * unpinned.idle_ms


def test_the_table_of_keys_is_generated_from_the_schema():
    (table,) = re.findall(r"<!-- resdepth show --markdown -->\n((?:\|.*\n)+)", README)
    assert table.splitlines() == forked_command("show", "--markdown").stdout.splitlines()
    assert all(f"\n| `{key}` | " in table for key in (*known_keys(), *GROUPS))


@pytest.mark.parametrize("column", fields(EpochRecord), ids=lambda f: f.name)
def test_every_column_is_explained_with_its_unit(column):
    assert f"| `{column.name}` | {column.metadata['unit']} | {column.metadata['meaning']} |" in README


def test_every_figure_and_file_named_is_there():
    named = re.findall(r"\]\((?!http)(.*?)\)", README) + re.findall(r"`((?:resdepth|configs|tests)/[\w/.]+)`", README)
    assert len(named) > 10
    titles = {"#" + re.sub(r"\W+", "-", title.lower()) for title in re.findall(r"^## (.*)$", README, re.MULTILINE)}
    assert [path for path in named if "NAME" not in path and path not in titles and not (ROOT / path).exists()] == []


@pytest.mark.parametrize("line", re.findall(r"^    resdepth (?:sweep|train) (.*?)(?: +#.*)?$", README, re.MULTILINE))
def test_every_sweep_printed_can_be_planned(line, tmp_path, images, monkeypatch):
    import numpy as np

    monkeypatch.chdir(tmp_path)
    np.savez("mine.npz", **images)
    line, _, file = line.partition(" --plugin ")
    if file:
        monkeypatch.setitem(VARIANTS, "half", VARIANTS["residual"])
    assert make_plan([word for word in shlex.split(line) if word != "--detach"]).runs


def test_every_option_named_exists():
    commands = [[c.name or c.callback.__name__] for c in app.registered_commands] + [["probe", name] for name in PROBES]
    options = {o for words in commands for o in re.findall(r"--[a-z-]+", command(*words, "--help").stdout)}
    named = set(re.findall(r"`(--[a-z-]+)", README))
    assert named
    assert named <= options


def test_the_tree_of_the_code_structure_lists_every_module():
    tree = README.split("```\nresdepth/\n")[1].split("configs/ ")[0]
    listed, rooms = set(), []
    for line in tree.splitlines():
        name, level = line.split()[0], (len(line) - len(line.lstrip())) // 2 - 1
        rooms = rooms[:level]
        if name.endswith("/"):
            rooms.append(name)
        else:
            listed.add("".join([*rooms, name]))
    package = ROOT / "resdepth"
    modules = {path.relative_to(package).as_posix() for path in package.rglob("*.py") if not path.name.startswith("__")}
    assert listed == modules
