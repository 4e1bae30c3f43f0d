"""Plugins that cannot be used, and evaluations of what is no trained net."""

from support.bad_input import cases, in_table, put, run_of_ones_own
from support.plugins import HALF, defining

SWEEP = ["sweep", "depth=8", "--plugin", "mine.py"]
IMPORT = "from resdepth.variants import Variant\n"


def plugin(text):
    return put("mine.py", text)


def refused(line):
    return f"--plugin=mine.py: {line}"


PLUGINS = {
    "VARIANTS = {": "cannot be imported (SyntaxError in line 1: '{' was never closed); fix it",
    "\0": "cannot be imported (SyntaxError: source code string cannot contain null bytes); fix it",
    IMPORT + "\n1 / 0\n": "cannot be imported (ZeroDivisionError in line 3: division by zero); fix it",
    "import missing_module": "cannot be imported (ModuleNotFoundError in line 1: No module named 'missing_module')",
    "raise SystemExit(3)": "cannot be imported (SystemExit in line 1: 3)",
    "": "defines no VARIANTS; write VARIANTS = {",
    "VARIANTS = None": "defines no VARIANTS; write VARIANTS = {",
    "VARIANTS = {}": "VARIANTS is empty; write",
    "VARIANTS = ['half']": "VARIANTS is not a dictionary of variants; write",
    "VARIANTS = {'half': max}": "half is not a variant; use Variant(FUNCTION, has_shortcut=True or False)",
    IMPORT + "VARIANTS = {'half': Variant(0.5, has_shortcut=True)}": "half is not a variant; use",
    IMPORT + "VARIANTS = {'half': Variant(max, has_shortcut='no')}": "half is not a variant; use",
    IMPORT + "VARIANTS = {'half': Variant(max)}": "cannot be imported (TypeError in line 2: Variant.__init__() missing",
    IMPORT + "VARIANTS = {1: Variant(max, has_shortcut=True)}": "1 cannot name a variant; use letters, digits",
    **{defining(**{name: "max"}): f"{name!r} cannot name a variant; use letters, digits, '-' and '_'"
       for name in ("a/b", "", "..", "a b", "null", "True", "1e5", "a,b", "x" * 41, "half\n")},
    **{defining(**{name: "max"}): f"there is a variant {name} already; give it another name"
       for name in ("plain", "residual", "Plain")},
}  # fmt: skip


@cases(
    *((plugin(text), SWEEP, refused(line)) for text, line in PLUGINS.items()),
    (None, SWEEP, refused("does not exist; name a Python file that defines VARIANTS")),
    (put("mine.py/x"), SWEEP, refused("is not a file; name a Python file")),
    (None, ["sweep", "--plugin", "/dev/null"], "--plugin=/dev/null: is not a file"),
    (None, ["train", "--plugin", "~nobody_has_this_name/x.py"], "--plugin=~nobody_has_this_name/x.py: names a home"),
    (plugin(HALF), ["train", "--plugin"], "Option '--plugin' requires an argument; see resdepth"),
    (plugin(HALF), ["plot", "--plugin", "mine.py"], "No such option: --plugin"),
    (plugin(HALF), [*SWEEP, "variant=third"], "variant=third: choose one of plain, residual, half; --plugin FILE adds"),
    (plugin(HALF), [*SWEEP, "plugin=mine.py"], "plugin=mine.py: is computed by the program; name a file of"),
    (plugin(HALF), ["sweep", "depth=8", "variant=half"], "variant=half: choose one of plain, residual; --plugin FILE"),
    (
        plugin(defining(half="lambda z, a: z.flatten()")),
        [*SWEEP, "variant=plain,half"],
        "variant=half: its join returns float32 of shape (96,) for float32 of shape (2, 3, 4, 4); it takes z and a",
    ),
    (
        plugin(defining(half="lambda z: z")),
        [*SWEEP, "variant=half"],
        "variant=half: its join fails (TypeError: <lambda>() takes 1 positional argument but 2 were given); it takes",
    ),
    (plugin("x = 1"), ["probe", "gradients", "depth=8", "--plugin", "mine.py"], refused("defines no VARIANTS")),
    (plugin("x = 1"), ["eval", "results", "--plugin", "mine.py"], refused("defines no VARIANTS")),
)  # fmt: skip
def test_a_plugin_is_refused(prepare, words, line, refuse):
    refuse(prepare, words, line)


EVALUATIONS = {
    "": "Missing argument 'RUN'; see resdepth eval --help",
    "nowhere": "results=nowhere: contains no runs; name a run's folder, or a folder of runs, such as results/digits",
    "depth=8": "results=depth=8: contains no runs; name a run's folder",
}


@cases(*in_table("eval", EVALUATIONS))
def test_an_evaluation_is_refused(prepare, words, line, refuse):
    refuse(prepare, words, line)


RUN = "results/digits/plain-8-s0"


@cases(
    (
        run_of_ones_own(),
        ["eval", "results"],
        f"results={RUN}: has no weights; train it with resdepth sweep depth=8 variant",
    ),
    (run_of_ones_own(), ["eval", RUN, "data.limit=5"], f"results={RUN}: has no weights; train it with resdepth sweep"),
    (run_of_ones_own(config=b"{"), ["eval", RUN], f"{RUN}/config.yaml: cannot be read"),
)
def test_a_run_that_cannot_be_evaluated_is_refused(prepare, words, line, refuse):
    refuse(prepare, words, line)
