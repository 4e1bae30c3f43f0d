"""Overrides: Hydra's grammar, the recipes that come with the data, and what is said of bad input."""

import inspect

import pytest
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra

from resdepth.config import compose
from resdepth.config.compose import config_folder, expand
from resdepth.config.schema import USER_SOURCES
from resdepth.errors import ConfigError

CONFIGS = config_folder()


def options(group):
    return sorted(path.stem for path in (CONFIGS / group).glob("*.yaml"))


def configs(*overrides, **keywords):
    return [point.config for point in expand(overrides, **keywords).points]


@pytest.mark.parametrize("experiment", options("experiment"))
def test_every_experiment_composes_and_pins_its_recipe_and_name(experiment):
    found = configs(f"experiment={experiment}")
    assert {c.name for c in found} == {experiment}
    assert (CONFIGS / "experiment" / f"{experiment}.yaml").read_text().count("override /recipe: ") == 1
    assert "override /data: " in (CONFIGS / "experiment" / f"{experiment}.yaml").read_text()


@pytest.mark.parametrize("data", options("data"))
def test_every_data_option_composes_with_a_recipe_of_its_own(data):
    for config in configs(f"data={data}", *(["data.path=x"] if data in USER_SOURCES else [])):
        assert (config.data.name, config.recipe.name) == ("x" if data in USER_SOURCES else data, data)


@pytest.mark.parametrize(("group", "option"), [(g, o) for g in ("model", "recipe") for o in options(g)])
def test_every_model_and_recipe_composes(group, option):
    assert all(getattr(c, group).name == option for c in configs(f"{group}={option}"))


def test_every_yaml_file_is_one_of_those_and_names_its_source():
    files = [p for p in CONFIGS.rglob("*.yaml") if p.parent != CONFIGS]
    assert {p.parent.name for p in files} == {"data", "model", "recipe", "experiment", "launcher"}
    assert all(p.read_text().startswith("# ") for p in files)


def test_he_et_als_recipe_comes_with_cifar10():
    (config, *_) = configs("data=cifar10", "depth=110", "variant=residual")
    r = config.recipe
    assert (r.lr, r.momentum, r.weight_decay, r.batch_size) == (0.1, 0.9, 1e-4, 128)
    assert (r.iterations, r.epochs, r.milestones, r.gamma) == (64_000, None, [0.5, 0.75], 0.1)
    assert (r.pad, r.flip, r.normalise) == (4, True, "pixel_mean")
    assert (r.warmup_lr, r.warmup_error, r.warmup_depth) == (0.01, 80.0, 110)


def test_digits_are_never_flipped():
    assert not any(c.recipe.flip for data in ("digits", "mnist") for c in configs(f"data={data}"))


def test_the_default_sweep_is_the_question():
    assert [(c.depth, c.variant) for c in configs()] == [
        (depth, variant) for depth in (20, 56, 110) for variant in ("plain", "residual")
    ]


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (["depth=20,56", "variant=plain"], [(20, "plain", 0), (56, "plain", 0)]),
        (["depth=range(8,21,6)", "variant=plain"], [(8, "plain", 0), (14, "plain", 0), (20, "plain", 0)]),
        (["depth=choice(20,32)", "variant=plain"], [(20, "plain", 0), (32, "plain", 0)]),
        (["depth=8", "variant=plain", "seed=0,1"], [(8, "plain", 0), (8, "plain", 1)]),
        (["+depth=8", "++variant=plain", "seed=3"], [(8, "plain", 3)]),
        (["~hydra.sweeper.params.depth", "variant=plain"], [(20, "plain", 0)]),
        (["~depth", "variant=plain"], [(20, "plain", 0)]),
        (["experiment=null", "depth=8", "variant=plain"], [(8, "plain", 0)]),
        (["hydra.sweeper.params.depth='8,14'", "variant=plain"], [(8, "plain", 0), (14, "plain", 0)]),
    ],
)
def test_hydras_grammar(overrides, expected):
    assert [(c.depth, c.variant, c.seed) for c in configs(*overrides)] == expected


def test_groups_can_be_an_axis():
    found = configs("data=digits,cifar10", "depth=8", "variant=plain")
    assert [(c.data.name, c.recipe.name, c.name) for c in found] == [(n, n, n) for n in ("digits", "cifar10")]


def test_a_launcher_is_handed_on_to_hydra():
    sweep = expand(["depth=8", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2"])
    assert sweep.hydra_overrides == ("hydra/launcher=joblib", "hydra.launcher.n_jobs=2")


def test_an_experiments_axes_can_be_overridden():
    assert {c.depth for c in configs("experiment=he2015_figure6")} == {20, 32, 44, 56, 110}
    assert {c.depth for c in configs("experiment=he2015_figure6", "depth=8")} == {8}


@pytest.mark.parametrize("experiment", ["he2015_figure1", "he2015_figure6", "he2015_1202", "he2015_shortcuts"])
def test_the_papers_sweeps_are_in_tf32_which_can_be_overridden(experiment):
    assert {c.precision for c in configs(f"experiment={experiment}")} == {"tf32"}
    assert {c.precision for c in configs(f"experiment={experiment}", "precision=fp32")} == {"fp32"}


def test_elsewhere_fp32_is_the_default():
    assert {c.precision for c in (*configs(), *configs("data=cifar10"), *configs("experiment=digits"))} == {"fp32"}
    assert {c.precision for c in configs("experiment=he2015_precision")} == {"fp32", "tf32", "bf16"}


def test_epochs_take_the_place_of_iterations_and_the_other_way_round():
    for words, expected in ((["recipe=cifar10", "recipe.epochs=1"], (1, None)), (["recipe.iterations=9"], (None, 9))):
        assert {(c.recipe.epochs, c.recipe.iterations) for c in configs(*words)} == {expected}


def test_one_run_takes_no_axis_of_the_default_sweep():
    assert [(c.depth, c.variant) for c in configs(swept=False)] == [(20, "residual")]
    assert [(c.depth, c.variant) for c in configs("depth=56", "variant=plain", swept=False)] == [(56, "plain")]
    assert [(c.depth, c.variant) for c in configs("experiment=digits_1202", swept=False)] == [(1202, "residual")]


def test_a_folder_of_ones_own_adds_data_and_recipes(tmp_path):
    for group, text in (("data", "source: digits\nlimit: 64\n"), ("recipe", "defaults: [short]\nlr: 0.5\n")):
        (tmp_path / group).mkdir()
        (tmp_path / group / "mine.yaml").write_text(text)
    for config in configs("data=mine", config_dir=tmp_path):
        assert (config.data.limit, config.recipe.lr, config.recipe.epochs) == (64, 0.5, 20)
        assert config.name == "mine"


def test_a_data_option_without_a_recipe_says_what_to_do(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine.yaml").write_text("source: digits\n")
    with pytest.raises(
        ConfigError, match=r"recipe=mine: data=mine has no recipe of its own; set recipe=NAME, one of cifar10, "
    ):
        expand(["data=mine"], config_dir=tmp_path)
    assert {c.recipe.name for c in configs("data=mine", "recipe=digits", config_dir=tmp_path)} == {"digits"}


def config_dir_with(folder, group, name, text):
    (folder / group).mkdir(parents=True, exist_ok=True)
    (folder / group / f"{name}.yaml").write_text(text)
    return folder


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lrr: 0.07\n", r"recipe\.lrr=\?: 'recipe/typo' sets it: no such key; did you mean recipe\.lr\?"),
        ("lr: fast\n", r"recipe\.lr=\?: 'recipe/typo' sets it: needs a number"),
        ("lr: [1\n", r"--config-dir=YAML: a file cannot be read: .*typo\.yaml"),
    ],
)
def test_a_bad_yaml_file_of_ones_own_is_named_with_its_key(tmp_path, text, message):
    with pytest.raises(ConfigError, match=message) as caught:
        expand(["recipe=typo"], config_dir=config_dir_with(tmp_path, "recipe", "typo", text))
    assert "\n" not in str(caught.value)


def test_an_experiment_that_fixes_a_key_means_it(tmp_path):
    text = "# @package _global_\ndefaults:\n  - override /recipe: digits\nname: one\ndepth: 8\nvariant: plain\n"
    folder = config_dir_with(tmp_path, "experiment", "one", text)
    assert [(c.depth, c.variant) for c in configs("experiment=one", config_dir=folder)] == [(8, "plain")]
    assert {c.depth for c in configs("experiment=one", "depth=14,20", config_dir=folder)} == {14, 20}


def test_a_launcher_inside_an_experiment_is_refused_not_ignored(tmp_path):
    text = "# @package _global_\ndefaults:\n  - override /hydra/launcher: joblib\nname: far\n"
    folder = config_dir_with(tmp_path, "experiment", "far", text)
    with pytest.raises(ConfigError, match="hydra/launcher=joblib: is set in an experiment"):
        expand(["experiment=far"], config_dir=folder)


@pytest.mark.parametrize(
    "path",
    [
        *("~/x.npz", "dir(1).npz", "ümlaut.npz", "a=b.npz", "it's.npz", "a b.npz", "/tmp/x.npz"),
        *("C:\\dir(1)\\x.npz", "a\\'b(1)", "(1)\\", "2026.10", "007", "TRUE", "1e3"),
    ],
)
def test_paths_need_no_quotes(path):
    assert {c.data.path for c in configs("data=npz", f"data.path={path}")} == {path}


@pytest.mark.parametrize(
    ("path", "name"),
    [
        *(
            ("flowers.npz", "flowers"),
            ("/data/My Flowers.npz", "My_Flowers"),
            ("~/a.b.NPZ", "a.b"),
            ("2026.npz", "2026"),
        ),
        *(
            ("null.npz", "null"),
            ("Blüten.npz", "Bluten"),
            ("花.npz", "npz"),
            ("_x.npz", "x"),
            ("x" * 90 + ".npz", "x" * 80),
        ),
    ],
)
def test_own_data_are_named_by_their_file(path, name):
    for config in configs("data=npz", f"data.path={path}"):
        assert (config.data.name, config.name) == (name, name)


def test_a_folder_of_own_data_is_named_by_its_own_name_wherever_it_is_called_from(tmp_path, monkeypatch):
    (tmp_path / "flowers" / "red").mkdir(parents=True)
    for place, path in ((tmp_path, "flowers/"), (tmp_path / "flowers", "."), (tmp_path / "flowers" / "red", "..")):
        monkeypatch.chdir(place)
        assert {c.data.name for c in configs("data=folder", f"data.path={path}")} == {"flowers"}


def test_a_name_of_own_data_that_is_set_stays(tmp_path):
    assert {(c.data.name, c.name) for c in configs("data=npz", "data.path=x.npz", "data.name=mine")} == {
        ("mine", "mine")
    }
    assert {(c.data.name, c.name) for c in configs("data=npz", "data.path=x.npz", "name=mine")} == {("x", "mine")}
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "mine.yaml").write_text("source: npz\npath: x.npz\n")
    (tmp_path / "data" / "npz.yaml").write_text("source: npz\nname: theirs\n")
    words = ("data=mine", "recipe=short")
    assert {c.data.name for c in configs(*words, config_dir=tmp_path)} == {"mine"}
    assert {c.data.name for c in configs("data=npz", "data.path=x.npz", config_dir=tmp_path)} == {"theirs"}


def test_own_data_may_be_an_axis():
    found = configs("data=npz", "data.path=a.npz,b.npz", "depth=8", "variant=plain")
    assert [(c.data.name, c.name) for c in found] == [("a", "a"), ("b", "b")]


def test_a_name_that_is_set_gives_the_directory_that_it_always_gave():
    words = ("data=npz", "data.path=cifar10.npz", "data.name=cifar10", "name=cifar10_10_epochs", "recipe=cifar10")
    (point, *_) = expand([*words, "recipe.iterations=3910", "depth=20"]).points
    assert point.non_defaults == (("data", "npz"), ("recipe", "cifar10"), ("recipe.iterations", 3910))
    (point, *_) = expand(["data=npz", "data.path=x.npz", "data.name=npz"]).points
    assert (point.config.name, point.non_defaults) == ("npz", ())


def test_a_config_dir_that_is_none_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"--config-dir=.*is not a folder"):
        expand([], config_dir=tmp_path / "nowhere")


EQUAL = [
    ["depth=8,14", "seed=0,1", "recipe.lr=0.1,0.05"],
    ["recipe.epochs=1,2", "data.name=mine"],
    ["recipe.iterations=9", "recipe.milestones=[0.3,0.6]", "name=x"],
    ["data=npz", "data.path=x.npz", "recipe=cifar10", "model.batch_norm=false"],
    ["experiment=he2015_shortcuts", "device=cpu", "results='a b'"],
    ["experiment=digits_1202", "recipe.warmup_lr=null", "recipe.lr=1", "precision=bf16"],
    ["~depth", "variant=plain"],
    ["name=${data.name}_x", "recipe.momentum=${recipe.gamma}"],
    ["depth=8,14", "name=n${depth}"],
    ["depth=8,14", "name=n${.depth}"],
    ["depth=8,14", "name='${variant}-${depth}'"],
    ["depth=8", "seed=1,${depth}"],
    ["seed=3,4", "recipe.batch_size=${seed}"],
    ["depth=8", "name=${variant}-${recipe.epochs}", "recipe.epochs=3"],
]


@pytest.mark.slow
@pytest.mark.parametrize("overrides", EQUAL, ids=" ".join)
def test_a_point_assembled_from_its_values_equals_the_one_that_omegaconf_composes(overrides, monkeypatch):
    assembled = expand(overrides)
    monkeypatch.setattr(compose, "_is_plain", lambda _: False)
    assert expand(overrides) == assembled


def test_an_interpolation_takes_the_values_of_its_own_point():
    found = configs("depth=8,14", "seed=${depth}", "name=${variant}-${recipe.epochs}", "recipe.epochs=3")
    assert [(c.seed, c.name) for c in found] == [(d, f"{v}-3") for d in (8, 14) for v in ("plain", "residual")]


def test_the_points_of_a_large_sweep_are_not_composed_one_by_one(monkeypatch):
    applied = []
    original = ConfigLoaderImpl._apply_overrides_to_config
    counting = staticmethod(lambda overrides, cfg: applied.append(overrides) or original(overrides, cfg))
    monkeypatch.setattr(ConfigLoaderImpl, "_apply_overrides_to_config", counting)
    words = ["depth=range(8,57,6)", "seed=range(0,20)", "recipe.lr=0.1,0.2", "recipe.epochs=1,2"]
    assert len(configs(*words)) == 9 * 2 * 20 * 2 * 2
    # Once a value of an axis, and for each composition of groups and experiments.
    assert len(applied) < 60


def test_the_private_names_of_hydra_are_as_this_version_of_the_program_knows_them():
    hint = "Hydra has changed: read config/compose.py, which alone uses hydra._internal"
    assert list(inspect.signature(ConfigLoaderImpl._apply_overrides_to_config).parameters) == ["overrides", "cfg"], hint
    assert list(inspect.signature(BasicSweeper.split_arguments).parameters) == ["overrides", "max_batch_size"], hint
    assert hasattr(GlobalHydra.instance(), "config_loader"), hint
