"""Bad YAML files in a folder given by --config-dir."""

from support.bad_input import OWN, cases, put, yaml

# Preparation, words, the beginning of the line.
CASES = [
    (
        put("own"),
        "sweep --config-dir own",
        "--config-dir=own: is not a folder; name one that holds data/, recipe/, ...",
    ),
    (
        yaml("config.yaml", "depth: 8\n"),
        "sweep --config-dir own",
        "--config-dir=own: contains a config.yaml, the program's own",
    ),
    (
        yaml("recipe/typo.yaml", "lrr: 0.07\n"),
        OWN + "recipe=typo",
        "recipe.lrr=?: 'recipe/typo' sets it: no such key; did you mean recipe.lr?",
    ),
    (yaml("recipe/typo.yaml", "lr: fast\n"), OWN + "recipe=typo", "recipe.lr=?: 'recipe/typo' sets it: needs a number"),
    (yaml("recipe/typo.yaml", "lr: [1\n"), OWN + "recipe=typo", "--config-dir=YAML: a file cannot be read: "),
    (
        yaml("recipe/typo.yaml", "- 1\n- 2\n"),
        OWN + "recipe=typo",
        "--config-dir='recipe/typo': is not a mapping of keys to values",
    ),
    (yaml("recipe/typo.yaml", "three\n"), OWN + "recipe=typo", "recipe.three=?: 'recipe/typo' sets it: no such key"),
    (yaml("recipe/typo.yaml", "lr: -1\n"), OWN + "recipe=typo", "recipe.lr=-1.0: needs a number above 0"),
    (
        yaml("recipe/typo.yaml", "lr: ${recipe.lr}\n"),
        OWN + "recipe=typo",
        "recipe.lr=?: the interpolation fails: Recursive",
    ),
    (
        yaml("recipe/typo.yaml", "lr: ${nope}\n"),
        OWN + "recipe=typo",
        "recipe.lr=?: the interpolation fails: Interpolation",
    ),
    (yaml("recipe/typo.yaml", "lr: ${\n"), OWN + "recipe=typo", "lr=?: no viable alternative at input"),
    (
        yaml("recipe/typo.yaml", "lr: 0.1\nlr: 0.2\n"),
        OWN + "recipe=typo",
        "--config-dir=YAML: a file cannot be read: while constructing a mapping",
    ),
    (yaml("recipe/typo.yaml", "defaults: [nope]\n"), OWN + "recipe=typo", "recipe=nope: choose one of "),
    (
        yaml("recipe/typo.yaml", "defaults: 3\n"),
        OWN + "recipe=typo",
        "overrides=recipe=typo: Hydra cannot use this (Invalid defaults list in 'recipe/typo'",
    ),
    (
        yaml("recipe/typo.yaml", "defaults: [typo]\n"),
        OWN + "recipe=typo",
        "overrides=recipe=typo: Hydra cannot use this (something is nested too deeply, or includes itself)",
    ),
    (yaml("recipe/typo.yaml", "a: &a [x]\nb: *c\n"), OWN + "recipe=typo", "--config-dir=YAML: a file cannot be read: "),
    (
        yaml("recipe/typo.yaml", "lr: \x00\n"),
        OWN + "recipe=typo",
        "--config-dir=YAML: a file cannot be read: unacceptable character",
    ),
    (yaml("recipe/typo.yaml", "name: '../x'\n"), OWN + "recipe=typo", "recipe.name='../x': use letters, digits"),
    (
        yaml("data/mine.yaml", "source: digits\n"),
        OWN + "data=mine",
        "recipe=mine: data=mine has no recipe of its own; ",
    ),
    (
        yaml("data/mine.yaml", "source: nope\n"),
        OWN + "data=mine recipe=short",
        "data.source=nope: choose one of digits, cifar10",
    ),
    (
        yaml("experiment/far.yaml", "# @package _global_\nname: ../../x\n"),
        OWN + "experiment=far",
        "name='../../x': use letters",
    ),
    (
        yaml(
            "experiment/far.yaml", "# @package _global_\ndefaults:\n  - override /hydra/launcher: joblib\nname: far\n"
        ),
        OWN + "experiment=far",
        "hydra/launcher=joblib: is set in an experiment",
    ),
    (
        yaml("experiment/far.yaml", "# @package _global_\nhydra: {sweeper: {params: {depth: 21}}}\n"),
        OWN + "experiment=far",
        "depth=21: a conv net has 6n+2",
    ),
    (
        yaml("experiment/far.yaml", "# @package _global_\nhydra: {sweeper: {params: {depth: [8]}}}\n"),
        OWN + "experiment=far",
        "hydra.sweeper.params.depth=?: 'experiment/far' sets it: cannot take this value",
    ),
    (
        yaml("experiment/far.yaml", "# @package _global_\nhydra: {sweeper: {params: {seed: 'range(0,20000)'}}}\n"),
        OWN + "experiment=far",
        "seed=range(0,20000): makes a sweep of more than 10,000 points",
    ),
]


@cases(*((prepare, words.split(), line) for prepare, words, line in CASES))
def test_bad_input_gets_one_line_and_nothing_is_written_or_trained(prepare, words, line, refuse):
    refuse(prepare, words, line)
