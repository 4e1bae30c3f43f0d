"""The figures of the probes, checked in their objects: panels, lines, data, labels."""

import json
import math
from dataclasses import replace

import matplotlib.pyplot as plt
import numpy as np
import pytest

from resdepth.probes.report.figures import draw, stems
from resdepth.probes.rows import DecayRow, GradientRow, GrowRow, IdentityRow, LearnIdentityRow
from resdepth.report.style import save_figure
from resdepth.results.files.rows import write

NET = {
    "run": "r", "dataset": "digits", "model": "conv", "variant": "plain", "depth": 8, "batch_norm": True,
    "zero_init_residual": False, "lr": 0.1, "seed": 0, "epoch": 0,
}  # fmt: skip


@pytest.fixture(autouse=True)
def _close():
    yield
    plt.close("all")


def nets(variants=("plain", "residual"), depths=(8, 14), seeds=(0, 1), **more):
    for variant in variants:
        for depth in depths:
            for seed in seeds:
                run = f"{variant}-{depth}-s{seed}" + "".join(f",{k}={v}" for k, v in more.items())
                yield NET | {"run": run, "variant": variant, "depth": depth, "seed": seed} | more


def gradient_rows(rate=lambda net: 0.5, **more):
    """The gradient of layer l is `rate` ** (l - 1) times a factor of the seed: the last over the first is known."""
    for net in nets(**more):
        for layer in range(net["depth"] + 1):
            norm = (1 + net["seed"]) * rate(net) ** (layer - 1) if layer else math.nan
            yield GradientRow(**net, layer=layer, weight_gradient=norm, activation=1.0, activation_gradient=1.0,
                              correlation=0.0,
                              neighbour_correlation=0.0 if layer else 1 / net["depth"])  # fmt: skip


def identity_rows(**more):
    for net in nets(**more):
        for kind in ("zero", "dirac"):
            for place in range(4):
                for blocks in (1, 10):
                    change = 0.0 if net["variant"] == "residual" else 4.0 if kind == "zero" else 4e-6
                    yield IdentityRow(**net, place=place, blocks=blocks, kind=kind, logit_change=change,
                                      logit_scale=8.0, error=90.0 if change > 1 else 5.0, error_before=5.0)  # fmt: skip


def learn_identity_rows(**more):
    for net in nets(**more):
        for lr, error in ((0.1, 40.0), (0.01, 4.0)):
            row = LearnIdentityRow(
                **net, layers=net["depth"] - 2, epochs=20, error_before=120.0, error=error * (1 + net["seed"])
            )
            yield replace(row, lr=lr)


def grow_rows(**more):
    for net in nets(**more):
        for added in (0, 18):
            for epoch in range(3):
                error = 10.0 + added - epoch + net["seed"]
                yield GrowRow(**net, added=added, further_epoch=epoch, train_loss=1.0, train_error=error)


def decay_rows(**more):
    for net in nets(**({"variants": ("residual",)} | more)):
        for bias in (True, False):
            for decay in (0.0, 1e-3):
                for block in (1, 2, 3):
                    yield DecayRow(**net, weight_decay=decay, decay_bias=bias, decay_bn=bias, block=block,
                                   branch_ratio=0.2 * block, weight_norm=8.0 / (1 + 1000 * decay), bias_norm=1.0,
                                   bn_scale=1.0, error=1.0)  # fmt: skip


ROWS = {
    "gradients": gradient_rows, "identity": identity_rows, "learn-identity": learn_identity_rows, "grow": grow_rows,
    "decay": decay_rows,
}  # fmt: skip
SUBSETS = {
    "all": {},
    "one seed": {"seeds": (3,)},
    "one depth": {"depths": (14,)},
    "one variant": {"variants": ("residual",)},
    "an unknown variant": {"variants": ("plain", "residual", "scaled")},
    "without batch norm": {"batch_norm": False},
    "dense": {"model": "dense"},
    "zero init": {"zero_init_residual": True},
    "one net": {"variants": ("residual",), "depths": (8,), "seeds": (0,)},
}


def figures(name, rows, folder):
    write(folder / f"{name}.csv", list(rows))
    return dict(draw(name, folder / f"{name}.csv"))


def lines(axes):
    """The lines with data of a net: label -> line."""
    return {line.get_label(): line for line in axes.lines if line.get_marker() not in ("None", "x")}


def drawn(axes):
    return {label: line.get_ydata().tolist() for label, line in lines(axes).items()}


def legend(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


@pytest.mark.parametrize("subset", SUBSETS.values(), ids=SUBSETS)
@pytest.mark.parametrize("name", ROWS)
def test_every_subset_is_drawn_without_an_empty_panel(name, subset, tmp_path):
    found = figures(name, ROWS[name](**subset), tmp_path)
    assert next(iter(found)) == name
    for figure in found.values():
        assert figure.axes
        for axes in figure.axes:
            assert any(len(line.get_ydata()) for line in lines(axes).values())
        assert ("seeds" in figure.get_suptitle()) == (subset.get("seeds") is None)


@pytest.mark.parametrize("name", ROWS)
def test_drawing_again_changes_no_byte(name, tmp_path):
    several = [replace(row, epoch=epoch) for epoch in (0, 3) for row in ROWS[name](depths=(8,))]
    write(tmp_path / "probe.csv", several if name == "gradients" else [r for r in several if r.epoch])
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        for stem, figure in draw(name, tmp_path / "probe.csv"):
            save_figure(figure, tmp_path / folder / stem, ("png", "svg"))
    files = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert {f"{name}.png", f"{name}.svg"} <= set(files)
    assert all((tmp_path / "a" / f).read_bytes() == (tmp_path / "b" / f).read_bytes() for f in files)


def test_the_gradients_of_each_model_are_a_figure(tmp_path):
    rows = [row for model in ("conv", "dense") for row in gradient_rows(model=model)]
    found = figures("gradients", rows, tmp_path)
    assert list(found) == [
        "gradients", "gradients_activations", "gradients_dense", "gradients_activations_dense", "gradients_ratio"
    ]  # fmt: skip
    assert all(("dense" if "dense" in stem else "conv") in found[stem].get_suptitle() for stem in list(found)[:4])


@pytest.mark.parametrize("name", sorted(ROWS.keys() - {"gradients"}))
def test_both_models_have_panels_of_their_own(name, tmp_path):
    rows = [row for model in ("conv", "dense") for row in ROWS[name](model=model)]
    figure = figures(name, rows, tmp_path)[name]
    titles = [axes.get_title() for axes in figure.axes]
    assert sum("conv" in title for title in titles) == sum("dense" in title for title in titles) > 0
    assert "conv" not in figure.get_suptitle()


@pytest.mark.parametrize("name", ROWS)
def test_a_file_without_a_finite_value_draws_nothing(name, tmp_path):
    columns = ("weight_gradient", "activation", "correlation", "logit_change", "error", "train_error", "branch_ratio")
    rows = [replace(r, **{c: math.nan for c in columns if hasattr(r, c)}) for r in ROWS[name]()]
    assert figures(name, rows, tmp_path) == {}


def test_gradients_are_geometric_means_over_seeds_without_image_and_classifier(tmp_path):
    plain, _ = figures("gradients", gradient_rows(depths=(8,)), tmp_path)["gradients"].axes
    (line,) = lines(plain).values()
    assert np.allclose(line.get_ydata(), [math.sqrt(2) * 0.5**k for k in range(7)], rtol=1e-4)
    assert line.get_xdata()[[0, -1]].tolist() == [0, 100]
    (band,) = plain.collections
    assert band.get_paths()[0].vertices[:, 1].max() == 2


@pytest.mark.parametrize(
    ("rate", "said"),
    [(0.25, "14 layers: × 1.7e+07, explodes"), (4.0, "vanishes"), (1.0, "× 1, kept")],
)
def test_a_panel_of_gradients_says_what_happens_in_the_deepest_net(rate, said, tmp_path):
    figure = figures("gradients", gradient_rows(lambda _: rate), tmp_path)["gradients"]
    assert all(said in axes.get_title() for axes in figure.axes)


def test_gradients_have_a_panel_per_variant_and_batch_norm_with_one_y_axis(tmp_path):
    rows = [*gradient_rows(), *gradient_rows(lambda _: 2.0, batch_norm=False)]
    axes = figures("gradients", rows, tmp_path)["gradients"].axes
    assert [a.get_title().split("\n")[0] for a in axes] == [
        f"{variant}, {setting} batch norm" for setting in ("with", "without") for variant in ("plain", "residual")
    ]
    assert len({a.get_ylim() for a in axes}) == 1


def test_a_combination_that_was_not_measured_has_no_panel(tmp_path):
    rows = [*gradient_rows(variants=("plain",)), *gradient_rows(variants=("residual",), batch_norm=False)]
    axes = figures("gradients", rows, tmp_path)["gradients"].axes
    assert [a.get_title().split("\n")[0] for a in axes] == ["plain, with batch norm", "residual, without batch norm"]
    assert all(a.get_ylabel() and a.get_xlabel() for a in axes)


def test_gradients_that_are_not_finite_or_zero_are_left_out(tmp_path):
    bad = {2: math.inf, 3: math.nan, 4: 0.0}
    rows = [replace(row, weight_gradient=bad.get(row.layer, row.weight_gradient)) for row in gradient_rows()]
    for axes in figures("gradients", rows, tmp_path)["gradients"].axes:
        assert [len(line.get_ydata()) for line in lines(axes).values()] == [4, 10]


def test_the_ratio_and_the_correlation_are_drawn_against_depth(tmp_path):
    ratio, cosine = figures("gradients", gradient_rows(), tmp_path)["gradients_ratio"].axes
    assert np.allclose(drawn(ratio)["plain, with batch norm"], [2**6, 2**12], rtol=1e-4)
    assert lines(ratio)["plain, with batch norm"].get_xdata().tolist() == [8, 14]
    assert drawn(cosine)["residual, with batch norm"] == pytest.approx([1 / 8, 1 / 14], rel=1e-4)
    assert ratio.get_yscale() == "log"


def test_nets_without_batch_norm_are_dashed(tmp_path):
    rows = [*gradient_rows(), *gradient_rows(batch_norm=False)]
    ratio, _ = figures("gradients", rows, tmp_path)["gradients_ratio"].axes
    styles = {label: line.get_linestyle() for label, line in lines(ratio).items()}
    dashes = {"with batch norm": "-", "without batch norm": "--"}
    assert styles == {f"{v}, {s}": dash for v in ("plain", "residual") for s, dash in dashes.items()}


def test_epochs_are_drawn_as_a_map_of_layers_where_there_are_several(tmp_path):
    assert "gradients_training" not in figures("gradients", gradient_rows(), tmp_path)
    rows = [*gradient_rows(), *gradient_rows(epoch=5), *gradient_rows(batch_norm=False)]
    figure = figures("gradients", rows, tmp_path)["gradients_training"]
    *panels, _bar = figure.axes
    assert len(panels) == 4
    shapes = [panel.collections[0].get_array().shape for panel in panels]
    assert shapes == [(7, 2), (7, 2), (13, 2), (13, 2)]
    assert len({panel.collections[0].get_clim() for panel in panels}) == 1
    assert [t.get_text() for t in panels[0].get_xticklabels()] == ["0", "5"]


def test_a_map_of_each_model_has_its_own_file(tmp_path):
    rows = [row for m in ("conv", "dense") for e in (0, 1) for row in gradient_rows(model=m, epoch=e)]
    assert {"gradients_training_conv", "gradients_training_dense"} <= set(figures("gradients", rows, tmp_path))


def test_an_exact_zero_is_drawn_at_the_bottom_and_labelled(tmp_path):
    figure = figures("identity", identity_rows(depths=(8,)), tmp_path)["identity"]
    found = {axes.get_title(): axes for axes in figure.axes if axes.get_title()}
    assert list(found)[:2] == ["plain:\nblocks of zero weights", "plain:\nidentity layers"]
    zero = found["residual:\nblocks of zero weights"]
    assert drawn(zero) == {f"8 layers, {k} blocks": [0] * 4 for k in (1, 10)}
    assert figure.axes[0].get_yticklabels()[0].get_text() == "exactly 0"
    assert zero.get_ylim()[0] < 0
    assert drawn(found["plain:\nidentity layers"])["8 layers, 1 blocks"] == pytest.approx([5e-7] * 4)


def test_the_error_after_the_insertion_is_drawn_against_the_place(tmp_path):
    figure = figures("identity", identity_rows(variants=("plain",), depths=(8,)), tmp_path)["identity"]
    errors = [axes for axes in figure.axes if not axes.get_title()]
    assert sorted(drawn(axes)["8 layers, 10 blocks"][0] for axes in errors) == [5, 90]
    assert np.allclose(lines(errors[0])["8 layers, 10 blocks"].get_xdata(), [0, 100 / 3, 200 / 3, 100])


def test_a_stack_is_drawn_at_its_best_rate(tmp_path):
    (axes,) = figures("learn-identity", learn_identity_rows(), tmp_path)["learn-identity"].axes
    assert drawn(axes)["plain"] == pytest.approx([4 * math.sqrt(2)] * 2)
    assert lines(axes)["plain"].get_xdata().tolist() == [6, 12]
    assert [text.get_text() for text in axes.texts] == ["output zero"]


def test_a_rate_at_which_a_seed_diverged_is_not_the_best(tmp_path):
    rows = [replace(row, error=math.nan) if (row.lr, row.seed) == (0.01, 1) else row for row in learn_identity_rows()]
    (axes,) = figures("learn-identity", rows, tmp_path)["learn-identity"].axes
    assert drawn(axes)["plain"] == pytest.approx([40 * math.sqrt(2)] * 2)


def test_a_stack_that_starts_as_the_identity_has_a_line_of_its_own_at_zero(tmp_path):
    start = [replace(row, error=0.0) for row in learn_identity_rows(zero_init_residual=True)]
    figure = figures("learn-identity", [*learn_identity_rows(), *start], tmp_path)["learn-identity"]
    found = drawn(figure.axes[0])
    assert found["residual, zero init"] == [0, 0]
    assert set(found) == {"plain", "residual", "residual, zero init"}
    assert figure.axes[0].get_ylim()[1] > 100


def test_extended_nets_are_solid_and_the_others_dashed(tmp_path):
    figure = figures("grow", grow_rows(), tmp_path)["grow"]
    for axes in figure.axes:
        solid, dashed = lines(axes)["8 layers, 18 added"], lines(axes)["8 layers, 0 added"]
        assert (solid.get_linestyle(), dashed.get_linestyle()) == ("-", "--")
        assert solid.get_color() == dashed.get_color() != lines(axes)["14 layers, 0 added"].get_color()
        assert solid.get_ydata().tolist() == [28.5, 27.5, 26.5]
    assert legend(figure) == ["14 layers", "8 layers", "as it was", "18 layers added", "range of the seeds"]


def test_decay_is_drawn_as_means_over_blocks_and_weights_relative_to_no_decay(tmp_path):
    figure = figures("decay", decay_rows(depths=(8,)), tmp_path)["decay"]
    ratio, norm, biases, scale, error = figure.axes
    thirds = {"first third": 0.2, "middle third": 0.4, "last third": 0.6}
    assert drawn(ratio) == {
        f"{third}, biases and batch norm {d}": pytest.approx([value, value])
        for third, value in thirds.items() for d in ("decay", "do not decay")
    }  # fmt: skip
    assert drawn(norm)["last third, biases and batch norm decay"] == pytest.approx([1, 0.5])
    assert drawn(biases)["last third, biases and batch norm decay"] == [1, 1]
    assert drawn(scale)["middle third, biases and batch norm decay"] == [1, 1]
    assert drawn(error)["first third, biases and batch norm decay"] == [1, 1]
    assert len(lines(error)) == 2  # of the net, not of its blocks
    assert [t.get_text() for t in error.get_xticklabels()] == ["0", "0.001"]


def test_a_net_without_decay_is_the_start_of_both_lines(tmp_path):
    rows = [row for row in decay_rows(depths=(8,)) if row.weight_decay or row.decay_bias]
    ratio = figures("decay", rows, tmp_path)["decay"].axes[0]
    assert {label: line.get_xdata().tolist() for label, line in lines(ratio).items()} == {
        f"{third} third, biases and batch norm {d}": [0, 1]
        for third in ("first", "middle", "last") for d in ("decay", "do not decay")
    }  # fmt: skip


def test_without_batch_norm_its_scale_has_no_axes(tmp_path):
    rows = [replace(row, bn_scale=math.nan) for row in decay_rows(depths=(8,), batch_norm=False)]
    figure = figures("decay", rows, tmp_path)["decay"]
    assert [axes.axison for axes in figure.axes] == [True, True, True, False, True]


def test_activations_are_drawn_after_the_first_layer_and_every_block(tmp_path):
    rows = [replace(row, activation=2.0**row.layer) for row in gradient_rows(depths=(8,))]
    axes = figures("gradients", rows, tmp_path)["gradients_activations"].axes[0]
    (line,) = lines(axes).values()
    assert line.get_ydata().tolist() == pytest.approx([2**1, 2**3, 2**5, 2**7])
    assert "8 layers: × 64" in axes.get_title()


def test_an_added_net_that_diverged_ends_with_a_cross(tmp_path):
    rows = [replace(r, train_error=math.nan) if r.added and r.further_epoch == 2 else r for r in grow_rows()]
    figure = figures("grow", rows, tmp_path)["grow"]
    crosses = [line for line in figure.axes[0].lines if line.get_marker() == "x"]
    assert [line.get_xdata()[0] for line in crosses] == [1, 1]
    assert "a seed diverged" in legend(figure)


def test_a_map_says_which_net_diverged(tmp_path):
    rows = [replace(row, epoch=epoch) for epoch in (0, 5) for row in gradient_rows(depths=(8,))]
    for lost, title in (
        (["residual-8-s0"], "residual, 1 seed"),
        (["residual-8-s0", "residual-8-s1"], "residual, diverged"),
    ):
        (tmp_path / "probe.json").write_text(json.dumps({"nets": {}, "diverged": lost}))
        *panels, _bar = figures("gradients", rows, tmp_path)["gradients_training"].axes
        assert [axes.get_title() for axes in panels] == ["plain", title]
        assert panels[1].collections[0].get_array().shape == (7, 3 - len(lost))


def test_nets_at_several_rates_are_not_pooled(tmp_path):
    rows = [row for lr in (0.1, 0.2) for row in grow_rows(lr=lr, variants=("plain",))]
    titles = [axes.get_title() for axes in figures("grow", rows, tmp_path)["grow"].axes]
    assert titles == ["plain, rate 0.1", "plain, rate 0.2"]


def test_many_nets_are_below_each_other_so_that_a_phone_shows_them(tmp_path):
    for variants, across in ((("a", "b", "c"), 3), (("a", "b", "c", "d"), 1)):
        figure = figures("grow", grow_rows(variants=variants), tmp_path)["grow"]
        assert figure.axes[0].get_gridspec().ncols == across
        assert [axes.get_title() for axes in figure.axes] == list(variants)
        assert figure.axes[-1].get_xlabel().startswith("further epochs")


def test_stacks_that_diverge_at_every_rate_are_crosses_at_the_top(tmp_path):
    rows = [
        replace(r, error=math.nan) if (r.variant, r.layers) == ("residual", 12) else r for r in learn_identity_rows()
    ]
    figure = figures("learn-identity", rows, tmp_path)["learn-identity"]
    (cross,) = (line for line in figure.axes[0].lines if line.get_marker() == "x")
    assert cross.get_xdata() == [12]
    assert cross.get_color() == lines(figure.axes[0])["residual"].get_color()
    assert "diverges at every rate tried" in legend(figure)


def test_one_seed_that_diverges_is_a_cross(tmp_path):
    rows = [
        replace(r, train_error=math.nan) if (r.added, r.seed, r.further_epoch) == (18, 1, 2) else r for r in grow_rows()
    ]
    figure = figures("grow", rows, tmp_path)["grow"]
    crosses = [line for line in figure.axes[0].lines if line.get_marker() == "x"]
    assert [(line.get_xdata()[0], line.get_ydata()[0]) for line in crosses] == [(1, 28.0)] * 2


def test_the_names_of_all_figures_are_known(tmp_path):
    rows = [
        row for m in ("conv", "dense") for b in (True, False) for e in (0, 1)
        for row in gradient_rows(model=m, batch_norm=b, epoch=e)
    ]  # fmt: skip
    drawn_now = set(figures("gradients", rows, tmp_path))
    known = stems("gradients", tmp_path / "gradients.csv")
    assert drawn_now < known
    # Those of fewer rows, which were drawn before.
    assert {"gradients_training", "gradients_training_with_batch_norm", "gradients_training_conv"} <= known
    assert "gradients_mine" not in known
