"""Overrides: Hydra's grammar, the recipes that come with the data, and what is said of bad input."""

from pathlib import Path

import pytest

from resdepth.compose import config_folder, expand
from resdepth.config import OWN_SOURCES
from resdepth.errors import ConfigError
from resdepth.sweep import make_plan

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
    for config in configs(f"data={data}", *(["data.path=x"] if data in OWN_SOURCES else [])):
        assert (config.data.name, config.recipe.name) == (data, data)


@pytest.mark.parametrize(("group", "option"), [(g, o) for g in ("model", "recipe") for o in options(g)])
def test_every_model_and_recipe_composes(group, option):
    assert all(getattr(c, group).name == option for c in configs(f"{group}={option}"))


def test_every_yaml_file_is_one_of_those_and_names_its_source():
    files = [p for p in CONFIGS.rglob("*.yaml") if p.parent != CONFIGS]
    assert {p.parent.name for p in files} == {"data", "model", "recipe", "experiment"}
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
    with pytest.raises(ConfigError, match=r"recipe=mine: choose one of .*say recipe=NAME"):
        expand(["data=mine"], config_dir=tmp_path)
    assert {c.recipe.name for c in configs("data=mine", "recipe=digits", config_dir=tmp_path)} == {"digits"}


BAD = {
    "depth=21": "depth=21: a conv net has 6n+2 layers; nearest are 20 and 26",
    "depth=2": "depth=2: a conv net has 6n+2 layers; nearest is 8",
    "depth=-20": "depth=-20: a conv net has 6n+2 layers",
    "depth=20,21": "depth=21: a conv net has 6n+2 layers; nearest are 20 and 26",
    "depth=abc": "depth=abc: needs a whole number",
    "depth=20.5": "depth=20.5: needs a whole number",
    "depth=": "depth=: needs a whole number",
    "depth=null": "depth=null: needs a whole number",
    "depth=10**9": "depth=10**9: needs a whole number",
    "depth=999999998": "depth=999999998: no device holds that net",
    "depth=range(0,0)": "depth=range(0,0): the axis is empty",
    "depth=interval(1,2)": "depth=interval(1,2): is no list of values",
    "depth": "depth=: cannot be read as an override; write key=value",
    "depht=20": "depht=20: no such key; did you mean depth?",
    "depht=20,32": "depht=20,32: no such key; did you mean depth?",
    "lr=0.1": "lr=0.1: no such key; did you mean recipe.lr?",
    "+recipe.foo=1": "recipe.foo=1: no such key",
    "modle=conv": "modle=conv: no such key; did you mean model?",
    "~recipe.lr": "recipe.lr=~: a key of the schema cannot be deleted",
    "data=nope": "data=nope: choose one of cifar10, cifar100, digits, fashion_mnist, folder, mnist, npz",
    "recipe=nope": "recipe=nope: choose one of",
    "experiment=nope": "experiment=nope: choose one of digits",
    "experiment=digits,digits_rates": "one experiment at a time",
    "hydra/launcher=nope": "hydra/launcher=nope: choose one of basic",
    "variant=foo": "variant=foo: choose one of plain, residual",
    "variant=plain,foo": "variant=foo: choose one of plain, residual",
    "seed=-1": "seed=-1: needs a number at least 0",
    "seed=1.5": "seed=1.5: needs a whole number",
    "device=gpu": "device='gpu': choose auto, cpu, cuda, cuda:N or mps",
    "precision=fp16": "precision=fp16: choose one of fp32, tf32, bf16",
    "name=../../x": "name='../../x': names a folder below the results",
    "name=/tmp/x": "name='/tmp/x': names a folder below the results",
    "name=published": "name=published: is the folder of the results that came with the program",
    "recipe.name=a/b": "recipe.name='a/b': use letters",
    "recipe.milestones=[a]": "recipe.milestones=[a]: needs a list",
    "seed=3000000000": "seed=3000000000: needs a number at least 0 and at most 2,147,483,647",
    "results='~nouser/x'": "results=~nouser/x: names a home folder that does not exist",
    "name=''": "name='': names a folder below the results",
    "checkpoint_seconds=-1": "checkpoint_seconds=-1.0: needs a number at least 0",
    "recipe.lr=-1": "recipe.lr=-1.0: needs a number above 0",
    "recipe.lr=nan": "recipe.lr=nan: needs a number above 0",
    "recipe.lr=fast": "recipe.lr=fast: needs a number",
    "recipe.momentum=1": "recipe.momentum=1.0: needs a number at least 0",
    "recipe.batch_size=0": "recipe.batch_size=0: needs a number at least 2",
    "recipe.epochs=0": "recipe.epochs=0: needs a number at least 1",
    "recipe.epochs=null": "recipe.epochs=None: set it or recipe.iterations",
    "recipe.milestones=[0.5,100]": "recipe.milestones=[0.5, 100.0]: needs a rising list",
    "recipe.milestones=[0.7,0.5]": "recipe.milestones=[0.7, 0.5]: needs a rising list",
    "recipe.milestones=3": "recipe.milestones=3: needs a list",
    "recipe.normalise=max": "recipe.normalise=max: choose one of pixel_mean, channel, none",
    "recipe.pad=-1": "recipe.pad=-1: needs a number at least 0",
    "recipe.flip=maybe": "recipe.flip=maybe: needs true or false",
    "model.width=0": "model.width=0: needs a number at least 1",
    "model.shortcut=D": "model.shortcut=D: choose one of A, B, C",
    "model.downsample=none": "model.downsample=none: choose one of stride, max, avg",
    "data=npz": "data.path=None: data=npz needs data.path=the .npz file",
    "data=folder": "data.path=None: data=folder needs data.path=the folder",
    "data=npz data.path=/nowhere/x.npz": "data.path=/nowhere/x.npz: does not exist",
    "data=folder data.path=/dev/null": "data.path=/dev/null: is not a folder",
    "data.path=mine.npz": "data.path=mine.npz: only data=npz and data=folder read it; say which",
    "data.limit=3": "data.limit=3: leaves a class without an image; at least 10",
    "data=cifar100 data.limit=99": "data.limit=99: leaves a class without an image; at least 100",
    "~data": "data=~: a group cannot be deleted; choose another one with data=NAME",
    "hydra.launcher.n_jobs=2": "the keys of hydra.launcher come with hydra/launcher=NAME",
    "data.limit=0": "data.limit=0: needs a number at least 2",
    "data.validation=-1": "data.validation=-1: needs a number at least 0",
    "data.size=32": "data.size=32: only data=folder is resized",
    "name=${nope}": "name=${nope}: the interpolation fails",
}


@pytest.mark.parametrize("words", BAD)
def test_bad_input_gets_one_line_with_field_value_and_remedy(words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError) as caught:
        make_plan(words.split())
    assert BAD[words] in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not list(Path(tmp_path).iterdir())


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
    with pytest.raises(ConfigError, match="hydra/launcher=joblib: stands in an experiment"):
        expand(["experiment=far"], config_dir=folder)


@pytest.mark.parametrize(
    "path", ["~/x.npz", "dir(1).npz", "ümlaut.npz", "a=b.npz", "it's.npz", "a b.npz", "/tmp/x.npz"]
)
def test_paths_need_no_quotes(path):
    assert {c.data.path for c in configs("data=npz", f"data.path={path}")} == {path}


def test_a_config_dir_that_is_none_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"--config-dir=.*is not a folder"):
        expand([], config_dir=tmp_path / "nowhere")
