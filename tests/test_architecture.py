"""The package's laws, by room: what may import what, who prints, which modules stay light, how large things grow.

A room is a folder of `resdepth/`, or one of the modules below them all. Each law is a function that returns its
violations, so that a test can hand it a small package that breaks the law and see it fail.
"""

import ast
import subprocess
import sys
from pathlib import Path

import pytest
from support.commands import ROOT

PACKAGE = ROOT / "resdepth"
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
    "models.build", "models.conv", "models.dense", "models.shortcuts",
    "training.trainer", "training.step", "training.sgd", "training.evaluation", "training.engine",
    "training.cuda_graph",
    "results.environment", "results.checkpoint",
    "sweep.preflight", "sweep.groups", "sweep.launch", "sweep.run", "sweep.processes",
    "bench.benchmark", "bench.measure", "bench.floors", "bench.baseline",
}  # fmt: skip
PRINTERS = {"rich", "typer"}
HYDRA = {"hydra", "omegaconf"}
HYDRAS_MODULES = {"sweep.launch"}
MATPLOTLIBS_MODULES = {"report.style", "report.plots", "bench.figure", "probes.figures"}
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
        if room(name) not in LEVELS:
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


def torch_in(names, cwd=ROOT):
    """Those of the modules that load torch, each found in a fresh interpreter, with the modules that it imports."""
    code = (
        "import importlib, os, sys\n"
        "for name in sys.argv[1:]:\n"
        "    pid = os.fork()\n"
        "    if not pid:\n"
        "        importlib.import_module(name)\n"
        "        os._exit(10 if {'torch', 'torchvision'} & sys.modules.keys() else 0)\n"
        "    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])\n"
        "    print(name, code)\n"
    )
    words = [sys.executable, "-c", code, *names]
    done = subprocess.run(words, cwd=cwd, capture_output=True, text=True, check=True)
    codes = dict(line.split() for line in done.stdout.splitlines())
    assert set(codes) == set(names)
    assert set(codes.values()) <= {"0", "10"}, done.stderr
    return [name for name, code in codes.items() if code == "10"]


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


def test_imports_go_down():
    assert list(upward_imports(PACKAGE)) == []


def test_no_modules_import_each_other_in_a_circle():
    assert circles(PACKAGE) == []


def test_only_the_command_line_prints():
    assert list(printing(PACKAGE)) == []


def test_hydra_stays_in_config_and_the_launch():
    assert list(strays(PACKAGE, HYDRA, {"config"}, HYDRAS_MODULES)) == []


def test_matplotlib_stays_in_the_figure_modules():
    assert list(strays(PACKAGE, {"matplotlib"}, set(), MATPLOTLIBS_MODULES)) == []


@pytest.mark.skipif(not hasattr(sys, "getswitchinterval") or sys.platform == "win32", reason="forks")
def test_torch_is_loaded_only_where_it_is_needed():
    names = [name.removesuffix(".__init__") for name, _ in modules(PACKAGE) if name != "__main__"]
    light = [n for n in names if n not in WITH_TORCH and n != "__init__"]
    assert torch_in([f"resdepth.{name}" for name in light]) == []


def test_files_functions_and_rooms_stay_small():
    assert list(too_large(PACKAGE)) == []


def test_the_top_level_is_the_fixed_one():
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout
    top = {Path(line).parts[0] for line in listed.splitlines() if not line.startswith(".")}
    if not top:
        pytest.skip("not a git checkout")
    assert top <= {"pyproject.toml", "README.md", "LICENSE", "Makefile", "resdepth", "configs", "tests", "results"}
