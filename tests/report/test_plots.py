"""The figures' files: where they lie, how they are named, that their bytes depend on the results alone."""

import matplotlib.pyplot as plt
import pytest
from support.runs import write_run

from resdepth.errors import ConfigError
from resdepth.report.plots import plot
from resdepth.report.style import FORMATS


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def test_a_clean_error_that_was_never_measured_is_said_to_be_missing(small_results, tmp_path):
    _, problems = plot(small_results, tmp_path, ("png",), "clean", "epoch")
    assert "no run measured train_error_clean; sweep with recipe.eval_clean=true" in problems[0]


def test_a_folder_that_cannot_be_written_to_is_named(small_results, tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(ConfigError, match=r"--out=.*taken"):
        plot(small_results, tmp_path / "taken", ("png",), "error", "epoch")


def test_drawing_again_changes_no_byte(small_results, tmp_path, monkeypatch):
    for name in ("a", "b"):
        # A day that a file written without it would not know.
        monkeypatch.setenv("SOURCE_DATE_EPOCH", "1" if name == "a" else "86401")
        plot(small_results, tmp_path / name, FORMATS, "both", "epoch")
    files = sorted(p.name for p in (tmp_path / "a").iterdir())
    assert files == [f"small_{n}.{s}" for n in ("curves", "depth", "training") for s in ("pdf", "png", "svg")]
    assert (tmp_path / "a" / "small_training.pdf").read_bytes().startswith(b"%PDF")
    assert all((tmp_path / "a" / f).read_bytes() == (tmp_path / "b" / f).read_bytes() for f in files)


def test_figures_lie_beside_their_runs_unless_a_folder_is_named(tmp_path):
    write_run(tmp_path)
    files, problems = plot(tmp_path, None, ("png",), "error", "epoch")
    assert problems == []
    assert [f.relative_to(tmp_path).as_posix() for f in files] == ["exp/figures/training.png", "exp/figures/curves.png"]


def test_another_metric_or_axis_does_not_overwrite_the_papers_figure(small_results, tmp_path):
    plot(small_results, tmp_path, ("png",), "loss", "iteration")
    plot(small_results, tmp_path, ("png",), "error", "epoch")
    plot(small_results, tmp_path, ("png",), "train", "epoch")
    names = ("training", "curves", "depth")
    expected = {f"small_{name}.png" for name in names} | {"small_curves_train.png", "small_depth_loss.png"}
    expected |= {f"small_{name}_loss_by_iteration.png" for name in ("training", "curves")}
    assert {p.name for p in tmp_path.iterdir()} == expected


def test_figures_of_the_test_error_say_so_in_their_names(tmp_path):
    for lr in (0.01, 0.1):
        write_run(tmp_path, depth=8, lr=lr)
        write_run(tmp_path, depth=20, lr=lr)
    files, _ = plot(tmp_path, None, ("svg",), "test", "epoch")
    kinds = ("training", "curves", "depth", "rates", "depth_best_rate")
    assert [f.name for f in files] == [f"{kind}_test.svg" for kind in kinds]


def test_nothing_to_plot_is_said(tmp_path):
    with pytest.raises(ConfigError, match="contains no results yet; make some with resdepth sweep"):
        plot(tmp_path, None, ("png",), "error", "epoch")
