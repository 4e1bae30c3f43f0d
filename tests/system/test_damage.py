"""Damaged files of a run, and runs that diverge: nothing is believed, lost or overwritten."""

import io
import math
import os
import pickle
import shutil
import warnings
from hashlib import sha256
from pathlib import Path

import matplotlib.pyplot as plt
import pytest
import torch
from support.commands import command_with, forked_command
from support.faults import lines_of
from support.platforms import linux
from support.runs import StopAfter, all_rows, metrics, train_here

from resdepth.report.figures.draw import draw
from resdepth.results import checkpoint
from resdepth.results.metrics import read_rows
from resdepth.results.table import load_results
from resdepth.sweep.jobs.launch import launch
from resdepth.sweep.observer import Observer
from resdepth.sweep.plan import make_plan
from resdepth.sweep.preflight import preflight
from resdepth.sweep.run import train_run

pytestmark = [pytest.mark.usefixtures("elsewhere"), pytest.mark.slow, pytest.mark.xdist_group("damage")]

WORDS = ("depth=8", "recipe.epochs=4", "data.limit=128", "device=cpu", "checkpoint_seconds=0")
PLAIN = "plain-8-s0,data.limit=128,recipe.epochs=4"


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The rows of the sweep where nothing goes wrong."""
    folder = tmp_path_factory.mktemp("whole")
    train_here(*WORDS, f"results={folder}")
    return all_rows(folder)


@pytest.fixture(scope="module")
def broken_off(tmp_path_factory):
    """Results whose plain run was broken off after its second epoch."""
    folder = tmp_path_factory.mktemp("broken")
    planned = make_plan([*WORDS, f"results={folder / 'results'}"]).runs[0]
    with pytest.raises(KeyboardInterrupt):
        train_run(planned, StopAfter(2))
    assert (planned.label, len(read_rows(planned.directory / "metrics.csv"))) == (PLAIN, 2)
    return folder / "results"


@pytest.fixture
def broken(broken_off, tmp_path):
    """The folder of that run, in a copy of the results for this test alone."""
    shutil.copytree(broken_off, tmp_path / "results")
    return Path("results") / "digits" / PLAIN


UNSAFE = "the checkpoint cannot be read safely (UnpicklingError)"


class Malicious:
    """Unpickled by the standard library it would create a file."""

    def __reduce__(self):
        return os.mkdir, ("harm",)


def sealed(payload):
    """A checkpoint file as the program would have written it, but for what is in it."""
    return payload + b"resdepth-checkpoint 4 " + sha256(payload).hexdigest().encode()


def saved(content):
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


def flipped(whole):
    return whole[:-99] + bytes([whole[-99] ^ 1]) + whole[-98:]


def with_state(path, spoil):
    """The checkpoint with another state, its header and its run's identity as they must be."""
    (planned,) = (p for p in make_plan(WORDS).runs if p.label == PLAIN)
    state = checkpoint.load(path, planned.config, torch.device("cpu"))
    spoil(state)
    checkpoint.save(path, planned.config, state)
    return path.read_bytes()


SPOILT = {
    "truncated": (lambda path: path.read_bytes()[:-1000], "the checkpoint is damaged"),
    "a stump": (lambda path: path.read_bytes()[:10], "the checkpoint is damaged"),
    "without its last byte": (lambda path: path.read_bytes()[:-1], "the checkpoint is damaged"),
    "of another program": (lambda path: b"weights", "is not a checkpoint of this program"),
    "of another program, in torch's format": (lambda path: saved({}), "the checkpoint is damaged"),
    "empty": (lambda path: b"", "is not a checkpoint of this program"),
    "bit-flipped": (lambda path: flipped(path.read_bytes()), "the checkpoint is damaged"),
    "of another version": (
        lambda path: path.read_bytes().replace(b"checkpoint 4 ", b"checkpoint 5 ", 1),
        "is of format '5', not 4; continue",
    ),
    "of an earlier version": (
        lambda path: b"resdepth-checkpoint 2 " + path.read_bytes()[-64:] + b"\n" + path.read_bytes(),
        "is of format '2', not 4; continue",
    ),
    "malicious": (lambda path: sealed(pickle.dumps(Malicious())), UNSAFE),
    "malicious, in torch's format": (lambda path: sealed(saved(Malicious())), UNSAFE),
    "of another net": (lambda path: with_state(path, lambda s: s["tensors"].popitem()), "does not fit the net"),
    "an epoch that is no number": (
        lambda path: with_state(path, lambda s: s.update(epoch="2")),
        "does not fit the net",
    ),
    "an epoch below 1": (lambda path: with_state(path, lambda s: s.update(epoch=-3)), "does not fit the net"),
}


@pytest.mark.parametrize(("spoil", "line"), SPOILT.values(), ids=SPOILT)
def test_a_damaged_checkpoint_fails_its_run_alone_and_without_it_the_run_starts_over(broken, whole, spoil, line):
    path = broken / "checkpoint.pt"
    path.write_bytes(spoil(path))
    plain, residual = launch(preflight(make_plan(WORDS)), Observer())
    assert (plain.state, residual.state) == ("failed", "finished")
    assert plain.message.startswith(f"{path}: {line}")
    assert plain.message.endswith("remove it and its run starts over")
    assert not (broken.parents[2] / "harm").exists()
    # What was there is there still.
    assert metrics(broken) == whole[PLAIN][:2]
    path.unlink()
    train_here(*WORDS)
    assert all_rows(broken.parent) == whole


@linux
def test_a_malicious_checkpoint_does_no_harm_to_a_sweep_and_is_said_in_one_line(broken, tmp_path):
    (broken / "checkpoint.pt").write_bytes(SPOILT["malicious"][0](broken / "checkpoint.pt"))
    # A warning of torch's would be a second line.
    done = command_with(lambda: warnings.simplefilter("error"), "sweep", *WORDS, cwd=tmp_path)
    assert lines_of(done, 1) == [
        f"resdepth: {broken}: failed: {broken / 'checkpoint.pt'}: {UNSAFE}; remove it and its run starts over"
    ]
    assert not (tmp_path / "harm").exists()


def test_the_malicious_pickle_would_do_harm_where_it_is_unpickled(tmp_path):
    pickle.loads(pickle.dumps(Malicious()))
    assert (tmp_path / "harm").is_dir()


def test_a_checkpoint_of_another_run_is_refused(broken):
    train_here(*WORDS, "variant=residual", "keep_checkpoint=true")
    (other,) = broken.parent.glob("residual-*")
    (broken / "checkpoint.pt").write_bytes((other / "checkpoint.pt").read_bytes())
    outcome, _ = launch(preflight(make_plan([*WORDS, "seed=0,1", "variant=plain"])), Observer())
    assert "checkpoint.pt: is of another run (variant=residual there, plain here); remove it" in outcome.message


def in_order(*numbers):
    """The lines of a text in another order."""
    return lambda text: "".join(text.splitlines(keepends=True)[n] for n in numbers)


DAMAGES = {
    "torn": (lambda t: t[:-20], "line 5 is incomplete, though the run has ended"),
    "a doubled header": (lambda t: t[: t.index("\n") + 1] + t, "line 2 repeats the header"),
    "a missing column": (lambda t: t.replace("train_loss,", "", 1), "line 1 is not the header of schema 1"),
    "a wrong type": (lambda t: t.replace(",plain,8,", ",plain,eight,", 1), "line 2: depth='eight': needs a whole"),
    "rows out of order": (in_order(0, 2, 1), "line 2 is epoch 2, not 1"),
    "NUL bytes": (lambda t: t.replace(",plain,", ",\0\0,", 1), r"line 2: variant='\x00\x00': needs a text"),
    "empty": (lambda t: "", "contains no row, though the run has ended"),
    "no text": (
        lambda t: t.encode().replace(b"plain", b"\xff\xfe", 1),
        "is not a CSV file ('utf-8' codec can't decode",
    ),
}


def damage(path, spoil):
    spoilt = spoil(path.read_text())
    path.write_bytes(spoilt if isinstance(spoilt, bytes) else spoilt.encode())


def test_every_damaged_csv_is_named_in_a_line_of_its_own_and_the_others_are_summed_up(tmp_path):
    words = ("depth=8", "variant=plain", "recipe.epochs=4", "data.limit=128", "device=cpu", "seed=range(0,9)")
    train_here(*words)
    folders = [planned.directory for planned in make_plan(words).runs]
    for folder, (spoil, _) in zip(folders[:-1], DAMAGES.values(), strict=True):
        damage(folder / "metrics.csv", spoil)
    for command in ("summary", "plot"):
        done = forked_command(command, "results", cwd=tmp_path)
        said = lines_of(done, 0)
        for line, folder, (_, expected) in zip(said, folders[:-1], DAMAGES.values(), strict=True):
            assert line.startswith(f"resdepth: {folder / 'metrics.csv'}: ")
            assert expected in line
            assert any(remedy in line for remedy in ("fix it", "remove that line", "put the rows", "move "))
    before = {folder: (folder / "metrics.csv").read_bytes() for folder in folders}
    (line,) = lines_of(forked_command("sweep", *words, cwd=tmp_path), 2)
    assert line.startswith(f"resdepth: {folders[0] / 'metrics.csv'}: ")
    assert before == {folder: (folder / "metrics.csv").read_bytes() for folder in folders}


@pytest.mark.parametrize("name", [name for name in DAMAGES if name not in ("torn", "empty")])
def test_a_run_is_not_continued_on_a_damaged_csv_and_is_once_it_is_mended(broken, whole, name):
    path = broken / "metrics.csv"
    good = path.read_bytes()
    damage(path, DAMAGES[name][0])
    bad = path.read_bytes()
    plain, residual = launch(preflight(make_plan(WORDS)), Observer())
    assert (plain.state, residual.state) == ("failed", "finished")
    assert plain.message.startswith(f"{path}: ")
    assert plain.message.endswith("; or remove checkpoint.pt to start the run over")
    assert path.read_bytes() == bad
    path.write_bytes(good)
    train_here(*WORDS)
    assert all_rows(broken.parent) == whole


def test_a_row_torn_by_a_kill_is_made_again(broken, whole):
    with (broken / "metrics.csv").open("a") as file:
        file.write("1,digits,conv,pl")
    (broken / "checkpoint.pt.part").write_bytes(b"half")
    (broken / "outcome.json.part").write_bytes(b"{")
    # No checkpoint is due that would take the half one's place.
    train_here(*WORDS[:-1], "checkpoint_seconds=99")
    assert all_rows(broken.parent) == whole
    assert not list(broken.glob("*.part"))


def test_a_diverging_run_keeps_its_rows_the_sweep_goes_on_and_every_figure_marks_it(tmp_path):
    words = ("depth=8", "variant=plain", "model.batch_norm=false", "recipe.lr=0.01,1000", "data.limit=128")
    done = forked_command("sweep", *words, "recipe.epochs=4", "device=cpu", cwd=tmp_path)
    assert lines_of(done, 0) == []
    assert "s, diverged in epoch " in done.stdout
    assert done.stdout.count("  finished  ") == done.stdout.count("  diverged  ") == 1
    table = load_results("results")
    assert len(table[table.state == "finished"]) == 4
    assert not math.isfinite(table[table.state == "diverged"].train_loss.iloc[-1])
    summed = forked_command("summary", cwd=tmp_path)
    assert "1 diverged" in summed.stdout
    for metric in ("both", "loss"):
        figures = {name: figure for _, name, figure in draw(table, metric)}
        marked = {name for name, figure in figures.items() if "diverged" in _legends(figure)}
        assert {name.partition("_")[0] for name in figures} == {"training", "curves", "rates"}
        assert marked == set(figures)
        plt.close("all")
    again = forked_command("sweep", *words, "recipe.epochs=4", "device=cpu", cwd=tmp_path)
    assert "2 runs, 2 finished before and skipped" in again.stdout


def _legends(figure):
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]
