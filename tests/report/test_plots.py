"""The figures' files: where they lie, how they are named, that their bytes depend on the results alone."""

import shutil

import matplotlib.pyplot as plt
import pytest
from support.runs import write_run

from resdepth.errors import ConfigError
from resdepth.report.comparison import comparisons
from resdepth.report.figures.draw import draw
from resdepth.report.plots import PlotRequest, plot
from resdepth.report.style import FORMATS
from resdepth.results.filters import Filters
from resdepth.results.table import read_selected


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def test_a_clean_error_that_was_never_measured_is_bad_input_and_draws_nothing(small_results, tmp_path):
    with pytest.raises(ConfigError) as error:
        plot(PlotRequest([small_results], tmp_path / "out", metric="clean"))
    assert str(error.value) == "--metric=clean: no run measured train_error_clean; sweep with recipe.eval_clean=true"
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_written_to_is_named(small_results, tmp_path):
    (tmp_path / "taken").write_text("")
    for out, problem in (("taken", "is a file; use --out FOLDER"), ("a.png", "is the name of a file; name a folder")):
        with pytest.raises(ConfigError, match=rf"--out=.*{out}: {problem}"):
            plot(PlotRequest([small_results], tmp_path / out, ("png",), "both", "epoch"))
    assert not (tmp_path / "a.png").exists()


def test_drawing_again_changes_no_byte(small_results, tmp_path, monkeypatch):
    for name in ("a", "b"):
        # A day that a file written without it would not know.
        monkeypatch.setenv("SOURCE_DATE_EPOCH", "1" if name == "a" else "86401")
        plot(PlotRequest([small_results], tmp_path / name, FORMATS, "both", "epoch"))
    files = sorted(p.name for p in (tmp_path / "a").iterdir())
    assert files == [f"small_{n}.{s}" for n in ("curves", "depth", "training") for s in ("pdf", "png", "svg")]
    assert (tmp_path / "a" / "small_training.pdf").read_bytes().startswith(b"%PDF")
    assert all((tmp_path / "a" / f).read_bytes() == (tmp_path / "b" / f).read_bytes() for f in files)


def test_figures_lie_beside_their_runs_unless_a_folder_is_named(tmp_path):
    write_run(tmp_path)
    files, _, problems, _ = plot(PlotRequest([tmp_path], None, ("png",), "both", "epoch"))
    assert problems == []
    assert [f.relative_to(tmp_path).as_posix() for f in files] == ["exp/figures/training.png", "exp/figures/curves.png"]


def test_another_metric_or_axis_does_not_overwrite_the_papers_figure(small_results, tmp_path):
    plot(PlotRequest([small_results], tmp_path, ("png",), "loss", "iteration"))
    plot(PlotRequest([small_results], tmp_path, ("png",), "both", "epoch"))
    plot(PlotRequest([small_results], tmp_path, ("png",), "train", "epoch"))
    names = ("training", "curves", "depth")
    expected = {f"small_{name}.png" for name in names} | {"small_curves_train.png", "small_depth_loss.png"}
    expected |= {f"small_{name}_loss_by_iteration.png" for name in ("training", "curves")}
    assert {p.name for p in tmp_path.iterdir()} == expected


def test_figures_of_the_test_error_say_so_in_their_names(tmp_path):
    for lr in (0.01, 0.1):
        write_run(tmp_path, depth=8, lr=lr)
        write_run(tmp_path, depth=20, lr=lr)
    files, *_ = plot(PlotRequest([tmp_path], None, ("svg",), "test", "epoch"))
    kinds = ("training", "curves", "depth", "rates", "depth_best_rate")
    assert [f.name for f in files] == [f"{kind}_test.svg" for kind in kinds]


def test_nothing_to_plot_is_said(tmp_path):
    with pytest.raises(ConfigError, match="contains no results yet; make some with resdepth sweep"):
        plot(PlotRequest([tmp_path], None, ("png",), "both", "epoch"))


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_figure_that_the_results_no_longer_give_is_removed_and_other_files_stay(tmp_path):
    for depth in (8, 20):
        write_run(tmp_path, depth=depth)
    figures = tmp_path / "exp" / "figures"
    plot(PlotRequest([tmp_path], formats=FORMATS))
    plot(PlotRequest([tmp_path], formats=("png",), metric="loss"))
    assert "depth.png" in names(figures)
    (figures / "depth_notes.png").write_bytes(b"my own")
    (figures / "notes.txt").write_text("resdepth plot")
    before = names(figures)
    for run in (tmp_path / "exp").glob("plain-20-*"):
        shutil.rmtree(run)
    result = plot(PlotRequest([tmp_path], formats=("png",)))
    assert [file.name for file in result.removed] == ["depth.pdf", "depth.png", "depth.svg"]
    # What was drawn of another metric, and in other formats, is not what was asked for again.
    assert names(figures) == [name for name in before if name not in ("depth.pdf", "depth.png", "depth.svg")]
    assert plot(PlotRequest([tmp_path], formats=("png",))).removed == []


def test_only_the_chosen_runs_are_drawn_into_files_that_say_so(tmp_path):
    for depth in (8, 20, 56):
        write_run(tmp_path, depth=depth)
    plot(PlotRequest([tmp_path], formats=("png",)))
    filters = Filters.parse(["depth=8,20"])
    files = plot(PlotRequest([tmp_path], formats=("svg",), filters=filters)).files
    assert [file.name for file in files] == [f"{kind}_depth=8,20.svg" for kind in ("training", "curves", "depth")]
    assert "56 layers" not in files[0].read_text()
    # The whole figures are still there, and drawing them again removes no chosen one.
    assert plot(PlotRequest([tmp_path], formats=("png",))).removed == []
    assert all(file.exists() for file in files)


def test_several_folders_are_drawn_as_one_experiment(tmp_path):
    write_run(tmp_path, depth=8, name="a")
    write_run(tmp_path, depth=20, name="b")
    roots = [tmp_path / "a", tmp_path / "b"]
    result = plot(PlotRequest(roots, formats=("svg",)))
    assert [file.relative_to(tmp_path).as_posix() for file in result.files] == [
        f"figures/a+b_{kind}.svg" for kind in ("training", "curves", "depth")
    ]
    (experiment, _, figure), *_ = draw(read_selected(roots, Filters({}))[0])
    assert experiment == "a+b"
    assert len(figure.axes) == 1  # the runs differ in depth alone
    assert result.states == {"finished": 2}


def test_folders_that_hold_the_same_runs_are_drawn_beside_each_other(tmp_path):
    for name, error in (("a", 1.0), ("b", 30.0)):
        for depth in (8, 20):
            write_run(tmp_path, depth=depth, name=name, train_error=error)
    (first, second) = comparisons(read_selected([tmp_path / "a", tmp_path / "b"], Filters({}))[0])
    assert [first.keys, second.keys] == [{"folder": "a"}, {"folder": "b"}]
    assert [set(c.rows.train_error) for c in (first, second)] == [{50.0, 1.0}, {50.0, 30.0}]


def test_a_run_in_two_experiments_of_a_folder_is_not_another_seed(tmp_path):
    for name, error in (("a/x", 1.0), ("a/y", 50.0), ("b", 30.0)):
        write_run(tmp_path / name, depth=8, name="runs", train_error=error)
    table, _ = read_selected([tmp_path / "a", tmp_path / "b"], Filters({}))
    found = [(c.keys["folder"], c.rows.train_error.iloc[-1]) for c in comparisons(table)]
    assert found == [("a/x/runs", 1.0), ("a/y/runs", 50.0), ("b", 30.0)]


def test_a_folder_without_results_beside_one_with_some_is_named(tmp_path):
    write_run(tmp_path, name="a")
    (tmp_path / "b").mkdir()
    with pytest.raises(ConfigError, match=r"results=.*b: contains no results yet"):
        plot(PlotRequest([tmp_path / "a", tmp_path / "b"]))


def test_folders_of_one_name_are_told_apart_and_a_folder_given_twice_counts_once(tmp_path):
    for name, error in (("a", 1.0), ("b", 30.0)):
        write_run(tmp_path / name, depth=8, name="x", train_error=error)
    roots = [tmp_path / "a" / "x", tmp_path / "b" / "x", tmp_path / "b" / ".." / "a" / "x"]
    first, second = comparisons(read_selected(roots, Filters({}))[0])
    assert first.experiment == "a/x+b/x"
    assert [(c.keys, list(c.rows.train_error)) for c in (first, second)] == [
        ({"folder": "a/x"}, [50.0, 1.0]), ({"folder": "b/x"}, [50.0, 30.0]),
    ]  # fmt: skip
    (file, *_) = plot(PlotRequest(roots[:2], formats=("svg",))).files
    assert file.relative_to(tmp_path).as_posix() == "figures/a-x+b-x_training.svg"
    (file, *_) = plot(PlotRequest([roots[0], roots[2]], formats=("svg",))).files
    assert file.relative_to(tmp_path).as_posix() == "a/x/figures/training.svg"


def test_a_copy_of_a_figure_by_another_name_is_the_users_own(tmp_path):
    write_run(tmp_path)
    (first, *_) = plot(PlotRequest([tmp_path], formats=("png",))).files
    copy = first.with_name("for_the_lecture.png")
    shutil.copy(first, copy)
    assert plot(PlotRequest([tmp_path], formats=("png",))).removed == []
    assert copy.exists()
