"""Options and arguments that a command does not have, and commands that do not exist."""

from support.bad_input import cases, in_table

# Words of the command line -> the beginning of the line. A tuple where a word holds white space or nothing.
SWEEP = {
    "--config-dir nowhere": "--config-dir=nowhere: is not a folder",
    "--depth 20": "No such option: --depth; overrides are written key=value, as in",
    "--config-dir a\x00b": "Invalid value for '--config-dir': Value error, embedded null byte;",
    "--config-dir": "Option '--config-dir' requires an argument; see resdepth sweep --help",
    "--config-dir /dev/null": "--config-dir=/dev/null: is not a folder; name one that holds data/, recipe/,",
    "--dry-run=3": "Option '--dry-run' does not take a value; see resdepth sweep --help",
    "--quiet --quiet=no": "Option '--quiet' does not take a value; see resdepth sweep --help",
    "-q depth=21": "depth=21: a conv net has 6n+2 layers; nearest are 20 and 26",
    "--restart depth=21": "depth=21: a conv net has 6n+2 layers; nearest are 20 and 26",
    "--format png": "No such option: --format; overrides are written key=value, as in",
    "--cfg hydra": "--cfg=hydra: choose one of job, origin",
    "--cfg job depth=21": "depth=21: a conv net has 6n+2 layers; nearest are 20 and 26",
    "--cfg": "Option '--cfg' requires an argument; see resdepth sweep --help",
    "--jobs 33": "--jobs=33: needs auto or a whole number from 1 to 32",
    "-j x": "--jobs=x: needs auto or a whole number from 1 to 32",
    "-j 2 runs_per_job=3": "--jobs=2: is short for runs_per_job=N; set only one of the two",
    "-m depth=21": "depth=21: a conv net has 6n+2 layers; nearest are 20 and 26",
    "--config-name x": "--config-name is not an option of this command: the configuration is config.yaml;",
    "--config-path=x": "--config-path is not an option of this command: add YAML files of your own with --config-dir",
    "--info defaults": "--info is not an option of this command: --cfg origin prints every value",
    "--hydra-help": "--hydra-help is not an option of this command: resdepth sweep --help and resdepth show",
    "--cfg job --resolve": "--resolve is not an option of this command: --cfg prints values with their",
    "--cfg job --package x": "--package is not an option of this command: --cfg prints the whole configuration",
    "--run": "--run is not an option of this command: resdepth train makes one run",
    "--shell-completion": "--shell-completion is not an option of this command: use --install-completion",
}
TRAIN = {
    "--multirun": "--multirun: train makes one run; use resdepth sweep",
    "depth=20,56": "overrides=depth=20,56: train makes one run; these overrides make 2; use",
    "seed=0,1": "overrides=seed=0,1: train makes one run; these overrides make 2; use",
    "variant=plain,residual": "overrides=variant=plain,residual: train makes one run; these overrides make 2; use",
    "depth=21": "depth=21: a conv net has 6n+2 layers; nearest are 20 and 26",
    "depht=20": "depht=20: no such key; did you mean depth?",
    "--nope": "No such option: --nope; overrides are written key=value, as in",
    "-x": "No such option: -x; overrides are written key=value, as in depth=20;",
    "data=npz": "data.path=null: data=npz needs data.path=FILE.npz",
    "experiment=nope": "experiment=nope: choose one of cifar10_10_epochs, dense_identity,",
    "name=/tmp/x": "name='/tmp/x': use letters, digits, '.',",
    "depth=8 hydra/launcher=nope": "hydra/launcher=nope: choose one of basic, joblib",
}
PLOT = {
    "nowhere": "results=nowhere: is not a folder",
    ". --format eps": "--format=eps: choose one of png, svg, pdf",
    ". --metric speed": "--metric=speed: choose one of both, train, test, loss, clean",
    ". --x time": "--x=time: choose one of epoch, iteration",
    ".": "results=.: contains no results yet",
    "--out": "Option '--out' requires an argument",
    "a b": "results=a: is not a folder; name one that holds runs, such as results/",
    (
        "--format",
        "",
    ): "--format: choose one of png, svg, pdf",
    "--format ,": "--format: choose one of png, svg, pdf",
    "--format png,": "--format: choose one of png, svg, pdf",
    "--format png,eps": "--format=eps: choose one of png, svg, pdf",
    (
        "--metric",
        "",
    ): "--metric: choose one of both, train, test, loss, clean",
    "--x '": "--x=': choose one of epoch, iteration",
    "--metric": "Option '--metric' requires an argument; see resdepth plot --help",
    "/dev/null": "results=/dev/null: is not a folder; name one that holds runs, such as",
    "a\x00b": "results=a\\x00b: cannot be used (embedded null byte); choose another path",
    ("a\nb",): "results=a\\nb: is not a folder; name one that holds runs, such as results/",
    "\udcff": "results=\\udcff: is not a folder; name one that holds runs, such as",
    ("",): "results=.: contains no results yet; make some with resdepth sweep",
    "--bogus": "No such option: --bogus (Possible options: --out); overrides are",
}
SUMMARY = {
    ".": "results=.: contains no results yet",
    "nowhere": "results=nowhere: is not a folder",
    "a b": "results=a: is not a folder; name one that holds runs, such as results/",
    ("a\nb",): "results=a\\nb: is not a folder; name one that holds runs, such as results/",
    ("",): "results=.: contains no results yet; make some with resdepth sweep",
    "--csv": "Option '--csv' requires an argument; see resdepth summary --help",
    "--out x": "No such option: --out; overrides are written key=value, as in depth=20;",
    "/dev/null": "results=/dev/null: is not a folder; name one that holds runs, such as",
}
NO_COMMAND = {
    "swep": "No such command 'swep'",
    ("",): "No such command ''; see resdepth --help",
    ("\n",): "No such command '\\n'; see resdepth --help",
    "\udcff": "No such command '\\udcff'; see resdepth --help",
    "-x": "No such option: -x; overrides are written key=value, as in depth=20;",
    "--nope": "No such option: --nope; overrides are written key=value, as in",
    "--version=3": "Option '--version' does not take a value; see resdepth --help",
    "depth=20": "No such command 'depth=20'; see resdepth --help",
}


SHOW = {
    "nope": "show=nope: there is no such key or option; resdepth show lists what there is",
    "recipe.lrr": "show=recipe.lrr: there is no such key or option; did you mean recipe.lr?",
    "digitz": "show=digitz: there is no such key or option; did you mean digits?",
    "experiment=digit": "experiment=digit: choose one of cifar10_10_epochs, dense_identity,",
    "data digitz": "show=digitz: there is no such key or option; did you mean digits?",
    "--config-dir nowhere": "--config-dir=nowhere: is not a folder",
    ("",): "show: there is no such key or option; resdepth show lists what there is",
    "a\x00b": "show=a\\x00b: there is no such key or option; resdepth show lists",
}


TABLES = {"show": SHOW, "sweep": SWEEP, "train": TRAIN, "plot": PLOT, "summary": SUMMARY, "": NO_COMMAND}


@cases(*(row for command, table in TABLES.items() for row in in_table(command, table)))
def test_bad_input_gets_one_line_and_nothing_is_written_or_trained(prepare, words, line, refuse):
    refuse(prepare, words, line)
