"""The package's laws, by room: what may import what, who prints, which modules stay light, how large things grow.

A room is a folder of `resdepth/`, or one of the modules below them all. Each law is a function that returns its
violations, so that a test can hand it a small package that breaks the law and see it fail.
"""

import ast
import functools
import subprocess
import sys
from pathlib import Path

import pytest
from support.commands import ROOT
from support.platforms import posix

PACKAGE, TESTS = ROOT / "resdepth", ROOT / "tests"
LEVELS = {
    "cli": 7,
    "probes": 6, "bench": 6,
    "sweep": 5,
    "training": 4, "report": 4,
    "data": 3, "models": 3, "results": 3,
    "config": 2, "device": 2,
    "errors": 1, "variants": 1, "host": 1,
}  # fmt: skip
# Modules that --help, planning, plot and summary use: with torch they would start in seconds.
WITH_TORCH = {
    "device", "data.device_data", "data.augment", "data.seeding", "data.synthetic",
    "models.build", "models.net", "models.conv", "models.dense", "models.shortcuts", "models.batch_norm",
    "training.trainer", "training.step", "training.sgd", "training.evaluation", "training.engine",
    "training.cuda", "training.timing",
    "results.environment", "results.checkpoint",
    "sweep.preflight", "sweep.groups", "sweep.run", "sweep.processes", "sweep.compilation",
    "sweep.jobs.launch", "sweep.jobs.cluster", "sweep.jobs.task", "sweep.jobs.watch",
    "probes.nets", "probes.trained", "probes.evaluation", "probes.selection", "probes.probe",
    "probes.measures.gradients", "probes.measures.identity", "probes.measures.learn_identity", "probes.measures.grow",
    "probes.measures.decay", "probes.measures.insertion",
    "bench.benchmark", "bench.scale",
    "bench.steps.measure", "bench.steps.busy", "bench.steps.memory", "bench.steps.floors", "bench.steps.baseline",
}  # fmt: skip
PRINTERS = {"rich", "typer"}
HYDRA = {"hydra", "omegaconf"}
HYDRAS_MODULES = {"sweep.jobs.multirun"}
MATPLOTLIBS_MODULES = {
    "report.style",
    "report.figures.draw",
    "report.figures.curves",
    "report.figures.finals",
    "report.figures.grid",
    "report.figures.labels",
    "report.figures.lines",
    "bench.figure",
    "probes.report.panels",
    "probes.report.gradient_figures",
    "probes.report.figures",
}
# Rooms where every dataclass is a value, which nobody changes: it may be shared, hashed and compared.
ROOMS_OF_VALUES = {"data", "models", "training", "results", "report"}
LIBRARIES = {"torch", "torchvision", "hydra", "omegaconf", "pd", "np", "plt", "matplotlib", "rich", "typer", "yaml"}
# A library, or one of its names, and the modules that say why they use it.
PRIVATE_NAMES = {
    "hydra": {"config.compose"},
    "torch._foreach_copy_": {"training.sgd"},
    "torch._C": {"bench.steps.memory"},
    "torch._C._cuda_clearCublasWorkspaces": {"bench.steps.memory"},
}
MOST_LINES, MOST_LINES_OF_A_FUNCTION, MOST_MODULES, MOST_ROOMS = 260, 50, 8, 16


def modules(package):
    """Every module of a package: dotted name below it -> syntax tree."""
    for path in sorted(package.rglob("*.py")):
        name = ".".join(path.relative_to(package).with_suffix("").parts)
        yield name, ast.parse(path.read_text())


def imports(tree, package="resdepth"):
    """Names of the modules that are imported anywhere in a file, inside functions too, without the package's name."""
    for node in ast.walk(tree):
        found = []
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "relative imports hide where they lead"
            found = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in found:
            yield name.removeprefix(f"{package}."), name.startswith(f"{package}.")


def room(name):
    return name.partition(".")[0]


def upward_imports(package):
    """Imports of a room on the same level or above. `__init__` and `__main__` at the top are the package's doors."""
    for name, tree in modules(package):
        if name in ("__init__", "__main__"):
            continue
        if room(name) not in LEVELS:
            yield f"{name} belongs to no room"
            continue
        for imported, is_own in imports(tree):
            above = LEVELS.get(room(imported), 0) >= LEVELS[room(name)] and room(imported) != room(name)
            if is_own and above:
                yield f"{name} imports {imported}"


def circles(package):
    """Modules of one room that import each other in a circle."""
    trees = dict(modules(package))
    graph = {name: {m for m, own in imports(tree) if own and m in trees} for name, tree in trees.items()}
    while leaves := {name for name, below in graph.items() if not below & graph.keys()}:
        graph = {name: below for name, below in graph.items() if name not in leaves}
    return sorted(graph)


def printing(package):
    """Modules outside cli/ that print, or load what prints."""
    for name, tree in modules(package):
        if room(name) == "cli":
            continue
        if any(isinstance(n, ast.Call) and getattr(n.func, "id", "") == "print" for n in ast.walk(tree)):
            yield f"{name} prints"
        if any(room(imported) in PRINTERS for imported, _ in imports(tree)):
            yield f"{name} imports what prints"


def strays(package, libraries, rooms, allowed):
    """Modules that import one of the libraries and are neither in the rooms nor among the allowed."""
    for name, tree in modules(package):
        is_allowed = room(name) in rooms or name in allowed
        if not is_allowed and any(room(imported) in libraries for imported, _ in imports(tree)):
            yield name


def torch_in(package):
    """Modules that load torch and need not, each found in a fresh interpreter, with the modules that it imports."""
    names = [name.removesuffix(".__init__") for name, _ in modules(package) if name not in ("__init__", "__main__")]
    light = [f"{package.name}.{name}" for name in names if name not in WITH_TORCH]
    code = (
        "import importlib, os, sys\n"
        "def load(names):\n"
        "    pid = os.fork()\n"
        "    if not pid:\n"
        "        for name in names:\n"
        "            importlib.import_module(name)\n"
        "        os._exit(10 if {'torch', 'torchvision'} & sys.modules.keys() else 0)\n"
        "    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])\n"
        "names = sys.argv[1:]\n"
        "all_at_once = load(names)\n"  # which is soon done; only where torch is loaded they are loaded one by one
        "for name in names:\n"
        "    print(name, all_at_once and load([name]))\n"
    )
    words = [sys.executable, "-c", code, *light]
    done = subprocess.run(words, cwd=package.parent, capture_output=True, text=True, check=True)
    codes = dict(line.split() for line in done.stdout.splitlines())
    assert set(codes) == set(light)
    assert set(codes.values()) <= {"0", "10"}, done.stderr
    return [name.removeprefix(f"{package.name}.") for name, code in codes.items() if code == "10"]


def too_large(package):
    """Files, functions, rooms and the package itself that have outgrown their limits."""
    for path in package.rglob("*.py"):
        name, text = path.relative_to(package).as_posix(), path.read_text()
        if text.count("\n") > MOST_LINES:
            yield f"{name} has {text.count(chr(10))} lines"
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef) and node.end_lineno - node.lineno >= MOST_LINES_OF_A_FUNCTION:
                yield f"{name}: {node.name} has {node.end_lineno - node.lineno + 1} lines"
    for folder in {path.parent for path in package.rglob("*.py")}:
        # A room's __init__ holds its docstring alone.
        names = {path.name for path in folder.iterdir()} - {"__pycache__", "__init__.py"}
        most = MOST_ROOMS - 1 if folder == package else MOST_MODULES
        if len(names) > most:
            yield f"{folder.name}/ holds {len(names)} modules"


def strays_of_hydra(package):
    return strays(package, HYDRA, {"config"}, HYDRAS_MODULES)


def strays_of_matplotlib(package):
    return strays(package, {"matplotlib"}, set(), MATPLOTLIBS_MODULES)


def imports_of_tests(tests):
    """Files that import a test module or a conftest; what several of them use belongs to tests/support."""
    for name, tree in modules(tests):
        for imported, _ in imports(tree):
            if any(part.startswith("test_") or part == "conftest" for part in imported.split(".")):
                yield f"{name} imports {imported}"


def uses_of_private_names(package):
    """Modules that use a private name of another library, and are not the one that explains why."""
    for name, tree in modules(package):
        names = [imported for imported, is_own in imports(tree) if not is_own]
        names += [ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
        for used in names:
            library, *parts = used.split(".")
            is_private = any(part.startswith("_") and not part.endswith("__") for part in parts)
            allowed = {*PRIVATE_NAMES.get(library, ()), *PRIVATE_NAMES.get(used, ())}
            if library in LIBRARIES and is_private and name not in allowed:
                yield f"{name} uses {used}"


def changeable_values(package):
    """Dataclasses in the rooms of values that are not frozen."""
    for name, tree in modules(package):
        for node in ast.walk(tree):
            if room(name) in ROOMS_OF_VALUES and isinstance(node, ast.ClassDef):
                how = [ast.unparse(decorator) for decorator in node.decorator_list]
                if any(h.startswith("dataclass") and "frozen=True" not in h for h in how):
                    yield f"{name}: {node.name} is not frozen"


MODULES = [name for name, _ in modules(PACKAGE)]
violations = functools.cache(lambda law: [violation.replace("/", ".") for violation in law(PACKAGE)])


def violations_of(law, name):
    return [
        violation for violation in violations(law) if violation.split()[0].removesuffix(":") in (name, f"{name}.py")
    ]


@pytest.mark.parametrize("name", MODULES)
def test_imports_go_down(name):
    assert violations_of(upward_imports, name) == []


def test_no_modules_import_each_other_in_a_circle():
    assert list(circles(PACKAGE)) == []


def test_only_the_command_line_prints():
    assert list(printing(PACKAGE)) == []


def test_hydra_stays_in_config_and_the_launch():
    assert list(strays_of_hydra(PACKAGE)) == []


def test_matplotlib_stays_in_the_figure_modules():
    assert list(strays_of_matplotlib(PACKAGE)) == []


@posix
@pytest.mark.parametrize("name", MODULES)
def test_torch_is_loaded_only_where_it_is_needed(name):
    assert violations_of(torch_in, name) == []


@pytest.mark.parametrize("name", MODULES)
def test_files_and_functions_stay_small(name):
    assert violations_of(too_large, name) == []


@pytest.mark.parametrize(
    "law", [upward_imports, pytest.param(torch_in, marks=posix), too_large, uses_of_private_names, changeable_values]
)
def test_the_package_breaks_no_law(law):
    assert violations(law) == []


def test_no_test_module_imports_another():
    assert list(imports_of_tests(TESTS)) == []


def test_the_tests_folders_are_the_packages_rooms():
    folders = {path.parent.relative_to(TESTS).parts[0] for path in TESTS.rglob("test_*.py") if path.parent != TESTS}
    assert folders - {"system"} <= {path.name for path in PACKAGE.iterdir() if path.is_dir()}


# A law, the files that break it, and all that it finds.
BROKEN = {
    "an import upwards": (
        upward_imports,
        {"results/table.py": "import resdepth.sweep.plan\n", "sweep/plan.py": ""},
        ["results.table imports sweep.plan"],
    ),
    "an import upwards inside a function": (
        upward_imports,
        {"data/sources.py": "def load():\n    from resdepth.cli import main\n", "cli/main.py": ""},
        ["data.sources imports cli", "data.sources imports cli.main"],
    ),
    "an import of a room on the same level": (
        upward_imports,
        {"report/plots.py": "from resdepth import training\n", "training/step.py": ""},
        ["report.plots imports training"],
    ),
    "a module without a room": (upward_imports, {"utils.py": ""}, ["utils belongs to no room"]),
    "a circle": (
        circles,
        {"data/a.py": "from resdepth.data import b\n", "data/b.py": "def f():\n    import resdepth.data.a\n"},
        ["data.a", "data.b"],
    ),
    "print": (printing, {"sweep/run.py": "def run():\n    print('done')\n"}, ["sweep.run prints"]),
    "rich": (printing, {"sweep/run.py": "from rich.table import Table\n"}, ["sweep.run imports what prints"]),
    "typer": (printing, {"report/page.py": "import typer\n"}, ["report.page imports what prints"]),
    "hydra": (strays_of_hydra, {"sweep/plan.py": "def plan():\n    import hydra\n"}, ["sweep.plan"]),
    "omegaconf": (strays_of_hydra, {"sweep/plan.py": "from omegaconf import OmegaConf\n"}, ["sweep.plan"]),
    "matplotlib": (strays_of_matplotlib, {"report/page.py": "import matplotlib.pyplot as plt\n"}, ["report.page"]),
    "torch": (torch_in, {"report/plots.py": "def draw(): ...\n\n\nimport torch\n"}, ["report.plots"]),
    "torch through another module": (
        torch_in,
        {"results/table.py": "import resdepth.results.checkpoint\n", "results/checkpoint.py": "import torch\n"},
        ["results.table"],
    ),
    "a long file": (too_large, {"errors.py": "x = 1\n" * 261}, ["errors.py has 261 lines"]),
    "a long function": (
        too_large,
        {"errors.py": "class E:\n    def f(self):\n" + "        x = 1\n" * 50},
        ["errors.py: f has 51 lines"],
    ),
    "a room of nine modules": (too_large, {f"data/m{i}.py": "" for i in range(9)}, ["data/ holds 9 modules"]),
    "seventeen rooms": (too_large, {f"m{i}.py": "" for i in range(17)}, ["resdepth/ holds 17 modules"]),
    "a private module of a library": (
        uses_of_private_names,
        {"sweep/launch.py": "from hydra._internal.utils import run\n"},
        ["sweep.launch uses hydra._internal.utils", "sweep.launch uses hydra._internal.utils.run"],
    ),
    "a private name of a library": (
        uses_of_private_names,
        {"training/sgd.py": "import torch\n\ntorch._fused_sgd_()\n"},
        ["training.sgd uses torch._fused_sgd_"],
    ),
    "a value that can be changed": (
        changeable_values,
        {"results/outcome.py": "@dataclass\nclass A: ...\n\n\n@dataclass(frozen=False)\nclass B: ...\n"},
        ["results.outcome: A is not frozen", "results.outcome: B is not frozen"],
    ),
    "a test module that imports another": (
        imports_of_tests,
        {"test_a.py": "def test():\n    from report.test_b import write\n", "report/test_b.py": ""},
        ["test_a imports report.test_b", "test_a imports report.test_b.write"],
    ),
    "a helper that imports a conftest": (
        imports_of_tests,
        {"support/runs.py": "from conftest import images\n"},
        ["support.runs imports conftest", "support.runs imports conftest.images"],
    ),
}


# Files that keep every law, each close to breaking one.
KEPT = {
    "__main__.py": "from resdepth.cli.main import main\n",
    "cli/main.py": "import rich\nfrom resdepth.sweep import plan\n\n\ndef main():\n    print(plan)\n",
    "config/compose.py": "import omegaconf\n",
    "sweep/plan.py": "import resdepth.results.table\n",
    "sweep/jobs/multirun.py": "import hydra\n",
    "report/style.py": "import matplotlib\n",
    "results/table.py": "from resdepth.results import metrics\n",
    "results/outcome.py": "from dataclasses import dataclass\n\n\n@dataclass(frozen=True)\nclass A: ...\n",
    "results/metrics.py": "def read():\n" + "    x = 1\n" * 49,
    "results/checkpoint.py": "import torch\n" + "x = 1\n" * 259,
    **{f"data/m{i}.py": "from resdepth.config import compose\n" for i in range(8)},
}


def write_package(folder, files):
    (folder / "torch.py").write_text("")  # found in place of the real one, which takes seconds to load
    for name, text in files.items():
        path = folder / "resdepth" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    package = folder / "resdepth"
    for room in {path.parent for path in package.rglob("*.py")} | {package}:
        (room / "__init__.py").touch()
    return package


def marks(law):
    return posix if law is torch_in else ()


@pytest.mark.parametrize(
    ("law", "files", "violations"),
    [pytest.param(*case, marks=marks(case[0]), id=name) for name, case in BROKEN.items()],
)
def test_a_package_that_breaks_a_law_is_seen(law, files, violations, tmp_path):
    assert list(law(write_package(tmp_path, files))) == violations


@pytest.mark.parametrize(
    "law",
    [pytest.param(law, marks=marks(law), id=law.__name__) for law in dict.fromkeys(law for law, *_ in BROKEN.values())],
)
def test_a_package_that_keeps_the_laws_breaks_none(law, tmp_path):
    assert list(law(write_package(tmp_path, KEPT))) == []


def test_the_top_level_is_the_fixed_one():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout
    top = {Path(line).parts[0] for line in listed.splitlines() if not line.startswith(".")}
    if not top:
        pytest.skip("not a git checkout")
    assert top <= {"pyproject.toml", "README.md", "LICENSE", "Makefile", "resdepth", "configs", "tests", "results"}
