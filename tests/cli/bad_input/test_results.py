"""Results in the way of a sweep, and damaged runs that cannot be plotted or summed up."""

from support.bad_input import DIGITS, both, cases, put, run_of_ones_own

# Preparation, words, the beginning of the line.
CASES = [
    (
        put("results"),
        "sweep",
        "results=results: results/digits cannot be written to (Not a directory); set results=FOLDER",
    ),
    (
        put("results"),
        "sweep results=results/x",
        "results=results/x: results/x/digits cannot be written to (Not a directory)",
    ),
    (
        put("results/digits"),
        "sweep",
        "results=results: results/digits cannot be written to (File exists); set results=FOLDER",
    ),
    (
        put("results/digits/residual-20-s0"),
        "train",
        "name=digits: results/digits/residual-20-s0 exists and is not a run",
    ),
    (
        put("results/digits/residual-20-s0/mine.txt"),
        "train",
        "name=digits: results/digits/residual-20-s0 exists and is",
    ),
    (
        put("results/digits/residual-20-s0/config.yaml"),
        "train",
        "results/digits/residual-20-s0/config.yaml: is not a run's configuration; move",
    ),
    (
        put("results/digits/residual-20-s0/config.yaml", "a: [\n"),
        "train",
        "results/digits/residual-20-s0/config.yaml: cannot be read: ",
    ),
    (
        run_of_ones_own(config=lambda good: good.replace(b"lr: 0.02", b"lr: 0.5")),
        "sweep depth=8 variant=plain",
        "name=digits: results/digits/plain-8-s0 holds another run (recipe.lr=0.5 there, 0.02 here); choose another",
    ),
    (
        run_of_ones_own(),
        "plot results --out results/digits/plain-8-s0/config.yaml",
        "--out=results/digits/plain-8-s0/config.yaml: is a file",
    ),
    (run_of_ones_own(), "plot results --out results/digits/plain-8-s0/config.yaml/x", "--out="),
    (
        both(run_of_ones_own(), put("results/digits/figures")),
        "plot results",
        "--out=results/digits/figures: is a file; use --out FOLDER",
    ),
    (
        run_of_ones_own(),
        "summary results --csv results",
        "--csv=results: cannot be written (Is a directory); use --csv FILE",
    ),
    (run_of_ones_own(), "summary results --csv nowhere/x.csv", "--csv=nowhere/x.csv: cannot be written ("),
    (run_of_ones_own(), "summary results --csv results/digits/plain-8-s0/config.yaml/x", "--csv="),
    *[
        (
            run_of_ones_own(**{stem: new}),
            words,
            f"results=results: contains no results that can be read ({DIGITS}/{said}",
        )
        for words in ("summary results", "plot results")
        for stem, new, said in (
            ("metrics", b"nonsense\n", "metrics.csv: line 1 is not the header"),
            ("metrics", b"\xff\xfe\x00", "metrics.csv: is not a CSV file"),
            ("metrics", None, "metrics.csv: cannot be read"),
            ("metrics", lambda good: good + good, "metrics.csv: line 22 repeats the header"),
            (
                "metrics",
                lambda good: good.replace(b"plain", b"pl\x1bin"),
                "metrics.csv: line 2: variant='pl\\x1bin': needs a text",
            ),
            ("metrics", lambda good: good.replace(b"\n1,", b"\n7,"), "metrics.csv: line 2 is of schema '7'"),
            (
                "metrics",
                lambda good: good[:-1].rpartition(b",")[0] + b",inf\n",
                "metrics.csv: line 21: epoch_seconds='inf': needs a number from 0 to",
            ),
            (
                "metrics",
                lambda good: good.replace(b",8,none", b",-8,none"),
                "metrics.csv: line 2: depth='-8': needs a number from 0 to",
            ),
            ("config", b"a: [\n", "config.yaml: cannot be read"),
            ("config", b"\xff\xfe\x00", "config.yaml: cannot be read"),
            ("config", b"[" * 8_000, "config.yaml: cannot be read"),
            ("config", b"- 1\n", "config.yaml: is not a run's configuration"),
            (
                "config",
                lambda good: good.replace(b"lr: 0.02", b"lr: fast"),
                "config.yaml: is not a run's configuration",
            ),
            (
                "config",
                lambda good: good.replace(b"lr: 0.02", b"lr: .inf"),
                "config.yaml: is not a run's configuration",
            ),
            (
                "config",
                lambda good: good.replace(b"epochs: 20", b"epochs: !!set {a}"),
                "config.yaml: is not a run's configuration",
            ),
            ("config", None, "config.yaml: cannot be read"),
            ("outcome", b"{", "outcome.json: cannot be read"),
            ("outcome", b"[]", "outcome.json: cannot be read"),
            ("outcome", b"[" * 99_999, "outcome.json: cannot be read"),
            ("outcome", b'{"state": "odd", "seconds": 1}', "outcome.json: cannot be read"),
            ("outcome", b'{"state": "finished", "seconds": NaN}', "outcome.json: cannot be read"),
            ("outcome", b'{"state": "finished", "seconds": 1, "more": 2}', "outcome.json: cannot be read"),
            ("outcome", None, "outcome.json: cannot be read"),
        )
    ],
]


@cases(*((prepare, words.split(), line) for prepare, words, line in CASES))
def test_bad_input_gets_one_line_and_nothing_is_written_or_trained(prepare, words, line, refuse):
    refuse(prepare, words, line)
