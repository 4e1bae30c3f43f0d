"""A trained net and its data, from its run's directory."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from support.images import forget_images, write_npz
from support.plugins import write_plugin
from support.runs import TINY, StopAfter, train_here

import resdepth
from resdepth.config.schema import DataConfig
from resdepth.data import sources
from resdepth.errors import ConfigError, DataError, RecordError, RunError
from resdepth.models.plugins import use_plugins
from resdepth.probes.evaluation import evaluate, select_runs
from resdepth.results.checkpoint import weights_path
from resdepth.results.files.evaluations import read_evaluations
from resdepth.results.metrics import read_rows
from resdepth.results.run_directory import load_config
from resdepth.sweep.plan import make_plan
from resdepth.sweep.run import train_run

pytestmark = pytest.mark.usefixtures("elsewhere")
WORDS = ("depth=8", "variant=residual", *TINY)


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Trained nets, conv and dense, with the weights of both epochs. Do not write to it."""
    folder = tmp_path_factory.mktemp("trained") / "results"
    words = (f"results={folder}", "keep_weights=all", *WORDS)
    outcomes = [
        *train_here(*words, "name=conv"),
        *train_here(*words, "name=dense", "model=dense", "recipe.normalise=channel"),
    ]
    assert [o.state for o in outcomes] == ["finished"] * 2
    return folder


def run_in(folder):
    (run,) = (file.parent for file in folder.rglob("metrics.csv"))
    return run


@pytest.fixture
def run(results, tmp_path):
    """A copy of the conv net's run."""
    return shutil.copytree(run_in(results / "conv"), tmp_path / "results" / "conv" / "run")


def error_of(net, data):
    assert not net.training
    with torch.no_grad():
        logits = net(data.normalise(data.test.images))
    return 100 * (logits.argmax(dim=1) != data.test.labels).float().mean().item()


@pytest.mark.parametrize("name", ["conv", "dense"])
def test_a_net_is_loaded_without_its_data_and_has_the_error_of_its_row(results, name, monkeypatch):
    run = run_in(results / name)
    with monkeypatch.context() as patch:
        patch.setattr(sources, "_load", lambda _: pytest.fail("data were read"))
        patch.setattr(sources, "_loaded", {})
        nets = [resdepth.load_net(str(run), epoch=1), resdepth.load_net(run)]
    data = resdepth.load_data(run)
    for net, row in zip(nets, read_rows(run / "metrics.csv"), strict=True):
        assert error_of(net, data) == pytest.approx(row.test_error, abs=1e-4)
    assert {p.dtype for p in nets[0].parameters()} == {torch.float32}
    assert not all(torch.equal(a, b) for a, b in zip(nets[0].parameters(), nets[1].parameters(), strict=True))


def test_without_kept_weights_those_of_the_checkpoint_are_loaded(run):
    words = (*WORDS, "name=checkpoint")
    (planned,) = make_plan([*words, "checkpoint_seconds=0"]).runs
    with pytest.raises(KeyboardInterrupt):
        train_run(planned, StopAfter(2))
    interrupted = planned.directory
    (interrupted / "weights").mkdir(exist_ok=True)
    net, kept = resdepth.load_net(interrupted), resdepth.load_net(run, epoch=1)
    for (name, there), (_, here) in zip(kept.state_dict().items(), net.state_dict().items(), strict=True):
        assert torch.equal(there, here), name
    with pytest.raises(ConfigError, match=r"epoch=2: .* holds the weights after epoch 1; choose from these"):
        resdepth.load_net(interrupted, epoch=2)
    (interrupted / "checkpoint.pt").write_bytes(b"rubbish")
    with pytest.raises(RunError, match="is not a checkpoint of this program"):
        resdepth.load_net(interrupted)


def test_a_run_without_weights_is_refused_with_the_command_that_makes_them(run, tmp_path):
    shutil.rmtree(run / "weights")
    command = "resdepth sweep depth=8 variant=residual seed=0 data=digits model=conv recipe=digits data.limit=128 "
    with pytest.raises(ConfigError) as error:
        resdepth.load_net(run)
    assert str(error.value).startswith(f"run={run}: has no weights; train it with {command}")
    assert str(error.value).endswith("keep_weights=last --restart")
    with pytest.raises(ConfigError, match="keep_weights=all"):
        resdepth.load_net(run, epoch=1)
    (run / "outcome.json").write_text(json.dumps({"state": "diverged", "seconds": 1.0, "message": ""}))
    with pytest.raises(ConfigError, match=r"has no weights, because it diverged; train it at a lower recipe.lr"):
        resdepth.load_net(run)
    for folder in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(ConfigError, match="is not the folder of a run"):
            resdepth.load_net(folder)


def test_damaged_weights_are_refused(run):
    path = weights_path(run, 2)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(RecordError, match="is not a file of weights"):
        resdepth.load_net(run)
    assert error_of(resdepth.load_net(run, epoch=1), resdepth.load_data(run)) > 0


def test_a_net_of_a_users_own_variant_needs_its_plugin(tmp_path):
    plugin = write_plugin(tmp_path)
    resdepth.train(["variant=half", "keep_weights=last", *WORDS[:1], *TINY], plugins=[plugin])
    run = run_in(tmp_path / "results")
    assert resdepth.load_net(run, plugins=[plugin]).blocks[0].join(1.0, 4.0) == 3.0
    with pytest.raises(
        ConfigError, match=r"variant=half: choose one of plain, residual; --plugin FILE adds .* \(in .*config.yaml\)"
    ):
        resdepth.load_net(run)
    # Its data do not depend on the variant.
    assert len(resdepth.load_data(run).test) == 128
    use_plugins([])


def test_an_evaluation_has_the_error_of_the_runs_last_row_and_is_written_once(run):
    row, expected = read_rows(run / "metrics.csv")[-1], resdepth.load_data(run)
    for _ in range(2):
        found = evaluate(run, load_config(run)).row
    assert found.test_error == pytest.approx(row.test_error)
    assert found.test_loss == pytest.approx(row.test_loss, rel=1e-5)
    net = resdepth.load_net(run)
    with torch.no_grad():
        logits = net(expected.normalise(expected.train.images))
    assert found.train_error == pytest.approx(100 * (logits.argmax(1) != expected.train.labels).float().mean().item())
    assert found.train_loss == pytest.approx(torch.nn.functional.cross_entropy(logits, expected.train.labels).item())
    assert (found.epoch, found.dataset, found.data, found.content) == (2, "digits", "", "")
    assert (found.train_images, found.test_images) == (128, 128)
    (kept,) = read_evaluations(run)
    assert kept == replace(found, **{k: float(f"{getattr(found, k):.6g}") for k in (
        "train_loss", "train_error", "test_loss", "test_error")})  # fmt: skip
    evaluate(run, load_config(run), ["data.limit=64"])
    assert [(r.data, r.test_images) for r in read_evaluations(run)] == [("", 128), ("data.limit=64", 64)]
    evaluate(run, load_config(run), ["data.limit=null", "device=cpu"])
    assert [(r.data, r.test_images) for r in read_evaluations(run)][2:] == [("data.limit=null", 360)]


def test_an_evaluation_computes_in_float32_whatever_was_trained_before(run):
    torch.set_float32_matmul_precision("high")
    evaluate(run, load_config(run))
    assert torch.get_float32_matmul_precision() == "highest"


def test_images_of_the_training_set_are_no_test_set(run):
    with pytest.raises(ConfigError, match=r"data.validation=50: these images are of the net's training set; use 0$"):
        evaluate(run, load_config(run), ["data.validation=50"])
    with pytest.raises(ConfigError, match=r"data.validation=50"):
        resdepth.load_data(run, ["data.validation=50"])
    config = load_config(run)
    config = replace(config, data=replace(config.data, validation=50))
    with pytest.raises(ConfigError, match=r"data.validation=20: .* training set; use 50 or 0$"):
        evaluate(run, config, ["data.validation=20"])
    with pytest.raises(ConfigError, match=r"overrides=data.limit=50: needs a list"):
        resdepth.load_data(run, "data.limit=50")


def test_another_data_set_is_normalised_by_the_runs_own_training_set(run, tmp_path):
    digits = sources.load(DataConfig(name="digits", limit=128))
    arrays = {"x_test": digits.test.images[:, 0], "y_test": digits.test.labels}
    # A training set of other statistics.
    arrays |= {"x_train": np.full((20, 8, 8), 255, np.uint8), "y_train": np.arange(20) % 10}
    write_npz(tmp_path / "mine.npz", arrays)
    words = ["data=npz", "data.path=mine.npz"]
    own, other = resdepth.load_data(run), resdepth.load_data(run, words)
    assert torch.equal(own.normalise(own.test.images), other.normalise(other.test.images))
    found = evaluate(run, load_config(run), words).row
    assert found.test_error == pytest.approx(read_rows(run / "metrics.csv")[-1].test_error)
    assert (found.dataset, found.train_images, len(found.content)) == ("mine", 20, 64)


def test_data_of_another_shape_are_refused(run, images):
    write_npz("mine.npz", images)
    forget_images()
    with pytest.raises(ConfigError, match="data=mine: holds images of 3x8x8 in 3 classes; the net needs 1x8x8 in 10"):
        evaluate(run, load_config(run), ["data=npz", "data.path=mine.npz"])
    with pytest.raises(ConfigError, match="data=cifar10: holds images of 3x32x32 in 10 classes"):
        resdepth.load_data(run, ["data=cifar10"])
    assert not (run / "evaluations.csv").exists()


def test_a_users_own_data_are_found_by_their_content_wherever_they_lie(images, tmp_path):
    place = tmp_path / "a place (1)"
    place.mkdir()
    write_npz(place / "mine.npz", images)
    train_here(
        "depth=8", "variant=plain", "recipe.epochs=1", "keep_weights=last", "data=npz", f"data.path={place}/mine.npz"
    )
    run = run_in(tmp_path / "results")
    forget_images()
    with pytest.raises(
        DataError, match=r"data.path=mine.npz: the data that the net was trained on are not there; name them"
    ):
        evaluate(run, load_config(run))
    evaluate(run, load_config(run), [f"data.path={place}/mine.npz"])
    evaluate(run, load_config(run), [f"data.path={place}/mine.npz", "data.limit=9"])
    # Other data beside the run's own.
    write_npz(place / "other.npz", {**images, "x_test": images["x_test"] // 2})
    evaluate(run, load_config(run), [f"data.path={place}/other.npz"])
    (place / "mine.npz").rename("mine.npz")
    forget_images()
    evaluate(run, load_config(run))
    limited, other, whole = read_evaluations(run)
    assert (other.dataset, other.train_loss, other.test_loss == whole.test_loss) == ("other", whole.train_loss, False)
    assert (whole.data, limited.data, limited.test_images) == ("", "data.limit=9", 9)
    assert whole.content == load_config(run).data.fingerprint
    # Other images in the place of the run's own: there is nothing to take the statistics from.
    write_npz("mine.npz", {**images, "x_train": images["x_train"] // 2})
    forget_images()
    with pytest.raises(DataError, match="the data that the net was trained on are not there"):
        evaluate(run, load_config(run))
    with pytest.raises(DataError, match="are not there; run this in their folder"):
        evaluate(run, load_config(run), [f"data.path={place}/other.npz"])


def test_runs_without_weights_are_named_and_the_others_selected(results, run):
    other = shutil.copytree(run, run.with_name("without"))
    shutil.rmtree(other / "weights")
    runs, problems = select_runs(run.parent)
    assert [folder for folder, _ in runs] == [run]
    (line,) = problems
    assert line.startswith(f"{run.parent}: runs without weights are left out (1); train them with resdepth sweep depth")
    with pytest.raises(ConfigError, match=r"results=.*without: has no weights; train it with"):
        select_runs(other)
    assert len(select_runs(results)[0]) == 2
    # Of many runs without weights, a line and a command for all of them; a diverged one has none to be trained for.
    for number in range(3):
        shutil.copytree(other, run.with_name(f"without-{number}"))
    (run.with_name("without-0") / "outcome.json").write_text('{"state": "diverged", "seconds": 1.0, "message": ""}')
    diverged, line = select_runs(run.parent)[1]
    assert diverged.startswith(f"{run.with_name('without-0')}: has no weights, because it diverged")
    assert line.startswith(f"{run.parent}: runs without weights are left out (3); train them with resdepth sweep depth")
    shutil.rmtree(run)
    with pytest.raises(ConfigError, match=r"results=.*conv: runs without weights are left out \(3\); train them with"):
        select_runs(run.parent)
