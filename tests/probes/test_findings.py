"""What is said of a probe's CSV file."""

import json
import math
from dataclasses import replace

import pandas as pd
import pytest

from resdepth.probes.report.findings import findings
from resdepth.probes.report.table import format_number, judge
from resdepth.probes.rows import DecayRow, GradientRow, GrowRow, IdentityRow, LearnIdentityRow
from resdepth.results.files.rows import write


def net(variant="plain", depth=20, seed=0, **more):
    base = {
        "run": f"{variant}-{depth}-s{seed}",
        "dataset": "digits",
        "model": "conv",
        "batch_norm": True,
        "zero_init_residual": False,
    }
    return base | {"variant": variant, "depth": depth, "lr": 0.1, "seed": seed, "epoch": 0} | more


def said(name, rows, folder):
    write(folder / "probe.csv", list(rows))
    return findings(name, folder / "probe.csv")


def gradient_rows(ratio, correlation=math.nan, level=None, **more):
    """A net whose first layer's gradient is `ratio` times its last, and whose classifier's is another again."""
    each = {"activation": 1.0, "activation_gradient": 1.0, "correlation": math.nan}
    chosen = net(**more)
    last = chosen["depth"] - 1
    # Their geometric mean is 0.01 for every ratio, unless it is told.
    level = 0.01 if level is None else level
    norms = {0: math.nan, 1: level * ratio, 2: level / ratio if ratio else 0.0, last: level, last + 1: 1e-6}
    for layer, norm in norms.items():
        cosine = math.nan if layer else correlation
        yield GradientRow(**chosen, **each, layer=layer, weight_gradient=norm, neighbour_correlation=cosine)


def test_gradients_at_initialisation_are_said_per_batch_norm_and_variant(tmp_path):
    rows = [
        *gradient_rows(2.2), *gradient_rows(279_000.0, depth=110),
        *gradient_rows(0.6, variant="residual"), *gradient_rows(4.4, variant="residual", depth=110),
        *gradient_rows(1e-9, batch_norm=False),
    ]  # fmt: skip
    assert said("gradients", rows, tmp_path)[:2] == [
        "At initialisation, with batch norm (seed 0): plain-20, -110 first / last layer's gradient 2.2, 279,000 "
        "(explodes towards the input); residual-20, -110 first / last layer's gradient 0.6, 4.4 (kept).",
        "At initialisation, without batch norm (seed 0): plain-20 first / last layer's gradient 1.0e-09 "
        "(vanishes towards the input).",
    ]


def test_gradients_of_another_size_at_every_layer_are_said_with_their_size(tmp_path):
    rows = [
        *gradient_rows(1.0, batch_norm=False), *gradient_rows(0.05, level=4e-11, depth=110, batch_norm=False),
        *gradient_rows(1.0, variant="residual"), *gradient_rows(0.05, level=2e6, variant="residual", depth=110),
    ]  # fmt: skip
    residual, plain, *_ = said("gradients", rows, tmp_path)
    assert plain.endswith("plain-20, -110 mean gradient of the layers 0.01, 4.0e-11 (vanishes at every layer).")
    assert residual.endswith("residual-20, -110 mean gradient of the layers 0.01, 2,000,000 (explodes at every layer).")


@pytest.mark.parametrize(
    ("ratio", "level", "word"),
    [
        (10.5, 1.0, "explodes towards the input"), (9.9, 1.0, "kept"), (1.0, 99.0, "kept"),
        (0.11, 1.0, "kept"),
        (0.09, 1.0, "vanishes towards the input"), (0.0, 1.0, "vanishes towards the input"),
        (1.0, 101.0, "explodes at every layer"), (1.0, 0.009, "vanishes at every layer"),
        (0.05, 101.0, "explodes at every layer"), (11.0, 101.0, "explodes at every layer"),
        (11.0, 99.0, "explodes towards the input"), (1e-16, 1e-9, "vanishes towards the input"),
    ],
)  # fmt: skip
def test_words_follow_the_ratio_and_the_level(ratio, level, word):
    sizes = pd.DataFrame({"depth": [20, 110], "ratio": [1.0, ratio], "level": [1.0, level]})
    assert judge(sizes)[0] == word


def test_ratios_are_geometric_means_over_seeds(tmp_path):
    rows = [*gradient_rows(2.0), *gradient_rows(2.0, seed=1), *gradient_rows(0.25, seed=2)]
    assert said("gradients", rows, tmp_path)[0].endswith("gradient 1 (kept).")


@pytest.mark.parametrize("norm", [math.nan, math.inf])
def test_a_seed_whose_ratio_is_not_finite_is_left_out(norm, tmp_path):
    bad = [replace(row, weight_gradient=norm) if row.layer == 1 else row for row in gradient_rows(8.0, seed=1)]
    assert said("gradients", [*gradient_rows(2.0), *bad], tmp_path)[0].endswith("gradient 2 (seed 0) (kept).")


def test_a_gradient_that_underflows_vanishes(tmp_path):
    assert "(vanishes" in said("gradients", gradient_rows(0.0), tmp_path)[0]


def test_gradients_after_training_are_said_of_the_last_epoch(tmp_path):
    rows = [*gradient_rows(300.0), *gradient_rows(30.0, epoch=1), *gradient_rows(3.0, epoch=40)]
    start, end, _ = said("gradients", rows, tmp_path)
    assert "gradient 300 (explodes" in start
    assert end.startswith("After 40 epochs, with batch norm")
    assert "gradient 3 (kept)" in end


def test_correlations_are_those_of_the_image_with_its_neighbour_and_with_others(tmp_path):
    rows = [*gradient_rows(1.0, 0.3), *gradient_rows(1.0, 0.1, seed=1), *gradient_rows(1.0, 0.02, depth=56)]
    rows = [replace(row, correlation=-2 * row.neighbour_correlation) for row in rows]
    start = "At initialisation, with batch norm, mean cosine of the input gradients of"
    assert said("gradients", rows, tmp_path)[-2:] == [
        f"{start} an image and the point a tenth of the way to another at 20, 56 layers: plain 0.2, 0.02.",
        f"{start} two images at 20, 56 layers: plain -0.4, -0.04.",
    ]


def test_models_are_named_where_there_are_several(tmp_path):
    lines = said("gradients", [*gradient_rows(1.0), *gradient_rows(1.0, model="dense")], tmp_path)
    assert [line.partition(",")[0] for line in lines[::2]] == ["conv: at initialisation", "dense: at initialisation"]


def test_activations_are_said_as_the_last_over_the_first(tmp_path):
    rows = [replace(row, activation=4.0 ** (row.layer > 1)) for seed in (0, 1) for row in gradient_rows(1.0, seed=seed)]
    assert said("gradients", rows, tmp_path)[1] == (
        "At initialisation, with batch norm, size of the last activations over the first at 20 layers: plain 4."
    )


def test_nets_that_diverged_and_those_without_a_gradient_are_said_to(tmp_path):
    rows = [*gradient_rows(1.0), *gradient_rows(1.0, epoch=20), *gradient_rows(1.0, seed=1, run="b")]
    rows += [replace(row, weight_gradient=0.0) for row in gradient_rows(1.0, epoch=20, seed=1, run="b")]
    rows += [
        *gradient_rows(1.0, variant="residual", run="c"),
        *gradient_rows(9.0, variant="residual", run="c", epoch=4),
    ]
    (tmp_path / "probe.json").write_text(json.dumps({"nets": {}, "diverged": ["c"]}))
    _, end, zero, *_ = said("gradients", rows, tmp_path)
    assert end == (
        "After 20 epochs, with batch norm (2 seeds): plain-20 first / last layer's gradient 1 (seed 0) (kept); "
        "diverged in training: residual-20 (seed 0)."
    )
    assert zero == "After 20 epochs, with batch norm: the gradient of every layer is exactly 0 in plain-20 (seed 1)."


def identity_rows(change, error=5.0, kind="zero", **more):
    scale = {"logit_change": change, "logit_scale": 10.0, "error": error, "error_before": 5.0}
    return [IdentityRow(**net(**more), place=p, blocks=k, kind=kind, **scale) for p in range(3) for k in (1, 10)]


def test_blocks_that_change_nothing_are_said_to_change_exactly_nothing(tmp_path):
    rows = identity_rows(0.0, variant="residual") + identity_rows(0.0, variant="residual", depth=56, seed=1)
    assert said("identity", rows, tmp_path) == [
        "residual-20, -56 with batch norm: blocks of zero weights (1, 10 at a time) change the logits by exactly 0 "
        "at each of 6 places (one seed each)."
    ]


def test_one_place_that_changes_a_logit_is_not_hidden(tmp_path):
    rows = identity_rows(0.0, variant="residual")
    rows[3] = replace(rows[3], logit_change=1e-5)
    (line,) = said("identity", rows, tmp_path)
    assert "exactly" not in line
    assert "at most 1e-06 of the largest" in line


def test_blocks_that_destroy_a_net_are_said_with_the_error_before(tmp_path):
    rows = identity_rows(4.0, 90.0) + identity_rows(4.0, 88.5, depth=56)
    (line,) = said("identity", rows, tmp_path)
    assert "give a training error of 88.5 to 90.0 % at each of 6 places (seed 0); before it was 5.0, 5.0 %." in line


@pytest.mark.parametrize(
    ("change", "words"), [(3e-5, "change a logit by at most 3e-06 of the largest"), (0.0, "the logits by exactly 0")]
)
def test_identity_layers_that_change_nothing_but_by_rounding_are_a_solution(change, words, tmp_path):
    (line,) = said("identity", identity_rows(change, kind="dirac"), tmp_path)
    assert words in line
    assert line.endswith(": a deeper net with the same error exists.")


def learn_row(layers, lr, error, **more):
    return LearnIdentityRow(**net(lr=lr, **more), layers=layers, epochs=20, error_before=120.0, error=error)


def test_stacks_are_said_at_their_best_rate(tmp_path):
    rows = [
        learn_row(k, lr, error) for k, lr, error in ((2, 0.1, 9.0), (2, 0.01, 0.5), (18, 0.1, 50.0), (108, 0.1, 98.0))
    ]
    rows += [learn_row(108, 0.01, math.nan), learn_row(108, 1.0, math.nan)]
    rows += [learn_row(2, 0.1, 0.25, variant="residual")]
    assert said("learn-identity", rows, tmp_path) == [
        "Error in percent of the squared input, with batch norm, each at its best rate (seed 0): "
        "plain 0.5 % with 2 layers (at the lowest rate tried) and 98 % with 108 layers; residual 0.25 % with 2 layers."
    ]


@pytest.mark.parametrize(
    ("best", "words"), [(0.01, " (at the lowest rate tried)"), (0.1, ""), (0.3, " (at the highest rate tried)")]
)
def test_a_best_rate_that_is_an_end_of_those_tried_is_said_to_be(best, words, tmp_path):
    rows = [learn_row(2, lr, 1.0 if lr == best else 5.0, seed=seed) for lr in (0.01, 0.1, 0.3) for seed in (0, 1, 2)]
    (line,) = said("learn-identity", rows, tmp_path)
    assert line.endswith(f"plain 1 % with 2 layers{words}.")


def test_stacks_that_diverge_at_every_rate_are_said_to(tmp_path):
    rows = [learn_row(2, 0.1, 9.0), learn_row(108, 0.1, math.nan), learn_row(108, 0.01, math.inf)]
    rows += [learn_row(108, 0.1, math.nan, variant="residual")]
    (line,) = said("learn-identity", rows, tmp_path)
    assert line.endswith(
        ": plain 9 % with 2 layers and diverges at every rate tried with 108 layers; "
        "residual diverges at every rate tried with 108 layers."
    )


@pytest.mark.parametrize(
    ("extended", "word"), [(12.0, "hurts"), (10.9, "no clear difference"), (9.1, "no clear difference"), (8.0, "helps")]
)
def test_added_layers_hurt_help_or_make_no_difference(extended, word, tmp_path):
    common = {"train_loss": 1.0}
    rows = [
        GrowRow(**net(seed=seed), **common, added=added, further_epoch=epoch, train_error=error if epoch == 5 else 50.0)
        for seed in (0, 1)
        for added, error in ((0, 10.0), (18, extended))
        for epoch in (0, 5)
    ]
    line = (
        "plain with batch norm, 18 layers added at initialisation ({}): 5 further epochs later {:.1f} % against 10.0 % "
    )
    line += "({}) at 20 layers."
    assert said("grow", rows, tmp_path) == [line.format("2 seeds", extended, word)]
    assert said("grow", rows[:4], tmp_path) == [line.format("seed 0", extended, "one seed")]


def grow_rows(errors, **more):
    return [
        GrowRow(**net(**more), train_loss=1.0, added=added, further_epoch=1, train_error=error)
        for added, error in zip((0, 18), errors, strict=True)
    ]


def test_a_difference_that_not_every_seed_shows_is_not_clear(tmp_path):
    (line,) = said("grow", [*grow_rows((10.0, 20.0)), *grow_rows((10.0, 9.5), seed=1)], tmp_path)
    assert "14.8 % against 10.0 % (no clear difference)" in line
    assert "(2 seeds): 1 further epoch later" in line


def test_nets_that_diverge_with_layers_added_are_said_to(tmp_path):
    (line,) = said("grow", [*grow_rows((10.0, math.nan)), *grow_rows((5.0, 5.0), depth=56)], tmp_path)
    assert "diverged against 10.0 % (hurts) at 20 layers, 5.0 % against 5.0 % (one seed) at 56 layers" in line


def decay_row(decay, ratio, norm, error=1.0, block=1, **more):
    flags = {key: more.pop(key, True) for key in ("decay_bias", "decay_bn")}
    weights = {"branch_ratio": ratio, "weight_norm": norm, "bias_norm": 1.0, "bn_scale": 1.0}
    return DecayRow(**net("residual", **more), **flags, **weights, weight_decay=decay, block=block, error=error)


def test_decay_is_said_from_none_to_the_largest_that_trains(tmp_path):
    cells = ((0.0, 0.3, 8.0, 1.0), (1e-3, 0.25, 2.0, 1.0), (0.1, 1e-5, 0.1, 90.0), (1.0, 1e-9, 0.1, 89.0))
    # Six blocks, of which two are a third, with the mean of the two.
    rows = [
        decay_row(decay, ratio * third * half, norm, error, block=2 * third - (half < 1))
        for decay, ratio, norm, error in cells for third in (1, 2, 3) for half in (0.5, 1.5)
    ]  # fmt: skip
    assert said("decay", rows, tmp_path) == [
        "residual-20 with batch norm (seed 0): |F(x)|/|x| in the first, middle and last third of the blocks is "
        "0.3, 0.6, 0.9 at decay 0 (training error 1.0 %) and 0.25, 0.5, 0.75 at decay 0.001 (training error 1.0 %), "
        "where |W| is 0.25 times as large and batch norm's scale 1 instead of 1; it is 1.0e-05, 2.0e-05, 3.0e-05 at "
        "decay 0.1 (training error 90.0 %) and 1.0e-09, 2.0e-09, 3.0e-09 at decay 1 (training error 89.0 %), and the "
        "net no longer trains."
    ]


def test_a_net_of_two_blocks_has_no_middle_third(tmp_path):
    rows = [decay_row(0.0, 0.1 * block, 8.0, block=block) for block in (1, 2)]
    assert "|F(x)|/|x| in the first and last third of the blocks is 0.1, 0.2 at" in said("decay", rows, tmp_path)[0]


def test_biases_that_decay_or_not_are_told_apart(tmp_path):
    rows = [decay_row(0.0, 0.4, 8.0), decay_row(0.1, 0.2, 4.0), decay_row(0.1, 0.3, 4.0, decay_bias=False)]
    rows = [replace(row, decay_bn=row.decay_bias) for row in rows]
    not_decayed, decayed = said("decay", rows, tmp_path)
    assert "do not decay (seed 0): |F(x)|/|x| in the first third of the blocks is 0.4 at decay 0" in not_decayed
    assert "and 0.3 at decay 0.1" in not_decayed
    assert "batch norm decay (seed 0): |F(x)|/|x| in the first third of the blocks is 0.4 at decay 0" in decayed
    assert "and 0.2 at decay 0.1" in decayed


def test_nets_that_start_as_the_identity_or_have_another_rate_are_not_pooled(tmp_path):
    rows = identity_rows(0.0, variant="residual")
    rows += identity_rows(1.0, variant="residual", zero_init_residual=True)
    rows += identity_rows(0.0, variant="residual", lr=0.2)
    lines = said("identity", rows, tmp_path)
    assert [line.partition(" (20 layers)")[0] for line in lines] == [
        "residual, rate 0.1", "residual, rate 0.2", "residual, zero init, rate 0.1"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("value", "text"), [(279_123.0, "279,000"), (399.4, "399"), (2.204, "2.2"), (0.0, "0"), (1.23e-9, "1.2e-09")]
)
def test_numbers_have_three_digits(value, text):
    assert format_number(value) == text


def test_nets_that_differ_in_a_key_without_a_column_are_not_pooled(tmp_path):
    nets = {"a": {"model.name": "conv", "variant": "residual", "model.shortcut": "A"}}
    nets["c"] = nets["a"] | {"model.shortcut": "C"}
    (tmp_path / "probe.json").write_text(json.dumps({"nets": nets}))
    rows = [*identity_rows(0.0, variant="residual", run="a"), *identity_rows(5.0, 88.0, variant="residual", run="c")]
    exact, ruined = said("identity", rows, tmp_path)
    assert exact.startswith("residual, model.shortcut A (20 layers) with batch norm")
    assert "exactly 0" in exact
    assert ruined.startswith("residual, model.shortcut C (20 layers) with batch norm")


def test_a_last_layer_without_a_gradient_is_said(tmp_path):
    rows = [replace(row, weight_gradient=0.0) if row.layer == 19 else row for row in gradient_rows(1.0)]
    assert said("gradients", rows, tmp_path)[0] == (
        "At initialisation, with batch norm: the gradient of the last layer is exactly 0 in plain-20 (seed 0)."
    )


def test_nets_whose_numbers_are_not_finite_are_named(tmp_path):
    rows = identity_rows(0.0, variant="residual") + [
        replace(row, run="broken", logit_change=math.nan) for row in identity_rows(0.0, variant="residual", seed=1)
    ]
    assert said("identity", rows, tmp_path)[-1] == "Left out, because their numbers are not finite: broken."
    assert len(said("identity", rows[:6], tmp_path)) == 1


@pytest.mark.parametrize(
    ("level", "word"), [(1e-4, "vanishes at every layer"), (1e4, "explodes at every layer"), (0.01, "kept")]
)
def test_a_single_depth_is_judged_by_its_level(level, word):
    sizes = pd.DataFrame({"depth": [110], "ratio": [1.5], "level": [level]})
    assert judge(sizes)[0] == word


def test_growth_of_which_some_seeds_diverge_is_said_with_their_number(tmp_path):
    rows = [*grow_rows((10.0, math.nan)), *grow_rows((10.0, 12.0), seed=1)]
    assert "12.0 %, 1 of 2 diverged against 10.0 % (hurts) at 20 layers" in said("grow", rows, tmp_path)[0]
    rows = [*grow_rows((math.nan, 10.0)), *grow_rows((10.0, 12.0), seed=1)]
    assert "11.0 % against 10.0 %, 1 of 2 diverged at 20 layers" in said("grow", rows, tmp_path)[0]
    assert "8.0 % against diverged at 20 layers" in said("grow", grow_rows((math.nan, 8.0)), tmp_path)[0]


def test_nets_of_which_fewer_seeds_were_measured_are_said_with_their_number(tmp_path):
    rows = identity_rows(0.0, variant="residual") + identity_rows(0.0, variant="residual", seed=1)
    rows += identity_rows(0.0, variant="residual", depth=56)
    assert "(1 to 2 seeds)" in said("identity", rows, tmp_path)[0]
