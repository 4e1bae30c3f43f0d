"""The command `probe`: what it prints and writes, and what it says of nets that fail."""

import json

import pytest
from support.commands import command, forked_command
from support.runs import TINY, train_here

from resdepth.probes.rows import PROBES

pytestmark = pytest.mark.slow
STEMS = ("gradients", "gradients_activations", "gradients_ratio")
FILES = ("gradients.csv", *(f"{stem}.{suffix}" for stem in STEMS for suffix in ("png", "svg")))


def test_nets_at_initialisation_are_measured_drawn_and_described(tmp_path):
    words = ("probe", "gradients", "depth=8,14", "data.limit=200", "device=cpu")
    done = command(*words, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    lines = [line for line in done.stdout.splitlines() if " of 4 nets, " not in line]
    assert lines[0].startswith(
        "At initialisation, with batch norm (seed 0): plain-8, -14 first / last layer's gradient "
    )
    folder = "results/digits/probes/gradients"
    assert lines[-len(FILES) :] == [f"{folder}/{name}" for name in FILES]
    settings = json.loads((tmp_path / folder / "probe.json").read_text())
    assert settings["commands"] == ["resdepth " + " ".join(words)]
    before = (tmp_path / folder / "gradients.csv").read_bytes()
    again = forked_command(*words, "--format", "png", cwd=tmp_path)
    assert again.stdout.splitlines()[-3:] == [f"{folder}/{stem}.png" for stem in STEMS]
    assert (tmp_path / folder / "gradients.csv").read_bytes() == before
    # What the other format showed may be out of date.
    assert not (tmp_path / folder / "gradients.svg").exists()


def test_trained_nets_are_measured_by_every_probe_and_their_findings_are_one_table(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    train_here("depth=8", "variant=plain,residual", "keep_weights=all", "name=exp", *TINY)
    for words in (
        ("gradients", "results/exp"), ("identity", "results/exp", "--blocks", "2"), ("decay", "results/exp"),
        ("grow", "results/exp", "--blocks", "1", "--epochs", "1", "--epoch", "1"),
        ("learn-identity", "depth=8", "model=dense", "name=exp", *TINY),
    ):  # fmt: skip
        done = forked_command("probe", *words, "--quiet", cwd=tmp_path)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    table = forked_command("probe", "table", "results", "--all", cwd=tmp_path).stdout.splitlines()
    assert len(table) == 2 + len(PROBES)
    for line, probe in zip(table[2:], PROBES.values(), strict=True):
        claim, said, csv, figure, found = (cell.strip() for cell in line.strip("|").replace("\\|", "¦").split("|"))
        assert claim == probe.claim
        assert said.startswith(f"`resdepth probe {probe.name} ")
        assert csv == f"[{probe.name}.csv](results/exp/probes/{probe.name}/{probe.name}.csv)"
        assert figure == f"[{probe.name}.png](results/exp/probes/{probe.name}/{probe.name}.png)"
        assert found.endswith(".")


def test_runs_that_are_left_out_are_said_to_be_and_a_net_that_fails_gives_exit_code_1(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    train_here("depth=8", "variant=plain,residual", "keep_weights=last", "name=exp", *TINY)
    train_here("depth=14", "variant=plain", "name=exp", *TINY)
    (path,) = tmp_path.glob("results/exp/plain-8*/weights/*")
    path.write_bytes(b"")
    done = forked_command("probe", "identity", "results/exp", cwd=tmp_path)
    assert done.returncode == 1
    left_out, failed = done.stderr.splitlines()
    assert left_out.startswith("resdepth: results/exp: runs without weights are left out (1); train them")
    assert failed.startswith("resdepth: plain-8-s0,data.limit=128,recipe.epochs=2: failed: ")
    assert "is not a file of weights" in failed
    assert "results/exp/probes/identity/identity.csv" in done.stdout


def test_help_lists_the_probes_with_a_line_and_the_source_of_each(tmp_path):
    said = " ".join(forked_command("probe", "--help", cwd=tmp_path).stdout.split())
    for probe in PROBES.values():
        assert f"{probe.name} {probe.title} ({probe.source})" in said


@pytest.mark.parametrize("probe", PROBES.values(), ids=PROBES)
def test_help_of_a_probe_explains_its_columns(probe, tmp_path):
    from dataclasses import fields

    said = " ".join(forked_command("probe", probe.name, "--help", cwd=tmp_path).stdout.split())
    assert probe.source in said
    for column in fields(probe.row):
        assert " ".join(column.metadata["meaning"].split()) in said
