"""Options and arguments that a command does not have, and commands that do not exist."""

from support.bad_input import cases, in_table

# Words of the command line -> the beginning of the line. A tuple where a word holds white space or nothing.
SWEEP = {
    "--config-dir nowhere": "--config-dir=nowhere: is not a folder",
    "--depth 20": "No such option: --depth; overrides are written key=value, as in",
    "--config-dir a\x00b": "Invalid value for '--config-dir': Value error, embedded null byte;",
    "--config-dir": "Option '--config-dir' requires an argument; see resdepth --help",
    "--config-dir /dev/null": "--config-dir=/dev/null: is not a folder; name one that holds data/, recipe/,",
    "--dry-run=3": "Option '--dry-run' does not take a value; see resdepth --help",
    "--quiet --quiet=no": "Option '--quiet' does not take a value; see resdepth --help",
    "-q depth=21": "depth=21: a conv net has 6n+2 layers; nearest are 20 and 26",
    "--restart depth=21": "depth=21: a conv net has 6n+2 layers; nearest are 20 and 26",
    "--format png": "No such option: --format; overrides are written key=value, as in",
}
TRAIN = {
    "depth=20,56": "train=2: makes one run",
    "seed=0,1": "train=2: makes one run, and these overrides make several; use resdepth",
    "variant=plain,residual": "train=2: makes one run, and these overrides make several; use resdepth",
    "depth=21": "depth=21: a conv net has 6n+2 layers; nearest are 20 and 26",
    "depht=20": "depht=20: no such key; did you mean depth?",
    "--nope": "No such option: --nope; overrides are written key=value, as in",
    "-x": "No such option: -x; overrides are written key=value, as in depth=20;",
    "data=npz": "data.path=None: data=npz needs data.path=the .npz file",
    "experiment=nope": "experiment=nope: choose one of dense_identity, digits, digits_1202,",
    "name=/tmp/x": "name='/tmp/x': use letters, digits, '.',",
    "depth=8 hydra/launcher=nope": "hydra/launcher=nope: choose one of basic, joblib",
}
PLOT = {
    "nowhere": "results=nowhere: is not a folder",
    ". --format eps": "--format=eps: choose one of png, svg, pdf",
    ". --metric speed": "--metric=speed: choose one of both, train, test, loss, clean",
    ". --x time": "--x=time: choose one of epoch, iteration",
    ".": "results=.: contains no rows to plot",
    "--out": "Option '--out' requires an argument",
    "a b": "Got unexpected extra argument(s) (b); see resdepth plot --help",
    (
        "--format",
        "",
    ): "--format=: choose one of png, svg, pdf",
    "--format ,": "--format=: choose one of png, svg, pdf",
    "--format png,": "--format=: choose one of png, svg, pdf",
    "--format png,eps": "--format=eps: choose one of png, svg, pdf",
    (
        "--metric",
        "",
    ): "--metric=: choose one of both, train, test, loss, clean",
    "--x '": "--x=': choose one of epoch, iteration",
    "--metric": "Option '--metric' requires an argument; see resdepth --help",
    "/dev/null": "results=/dev/null: is not a folder; name one that holds runs, such as",
    "a\x00b": "Invalid value for 'results': Value error, embedded null byte; see resdepth plot --help",
    ("a\nb",): "results=a\\nb: is not a folder; name one that holds runs, such as results/",
    "\udcff": "results=\\udcff: is not a folder; name one that holds runs, such as",
    ("",): "results=.: contains no rows to plot; make some with resdepth sweep",
    "--bogus": "No such option: --bogus (Possible options: --out); overrides are",
}
SUMMARY = {
    ".": "results=.: contains no rows to sum up",
    "nowhere": "results=nowhere: is not a folder",
    "a b": "Got unexpected extra argument(s) (b); see resdepth summary --help",
    ("a\nb",): "results=a\\nb: is not a folder; name one that holds runs, such as results/",
    ("",): "results=.: contains no rows to sum up; make some with resdepth sweep",
    "--csv": "Option '--csv' requires an argument; see resdepth --help",
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


TABLES = {"sweep": SWEEP, "train": TRAIN, "plot": PLOT, "summary": SUMMARY, "": NO_COMMAND}


@cases(*(row for command, table in TABLES.items() for row in in_table(command, table)))
def test_bad_input_gets_one_line_and_nothing_is_written_or_trained(prepare, words, line, refuse):
    refuse(prepare, words, line)
