"""The floors of the house: imports go down, torch lives above, files and functions stay small."""

import ast
from pathlib import Path

import pytest
from conftest import ROOT

PACKAGE = ROOT / "resdepth"
FLOORS = (
    (
        "errors",
        "checks",
        "files",
        "memory",
        "variants",
        "config",
        "records",
        "output",
        "signals",
        "__init__",
        "bench.cost",
    ),
    ("data.dataset", "data.own", "data.sources", "models.size", "training.schedule", "rundir"),
    (
        "paper",
        "hydra_errors",
        "overrides",
        "compose",
        "launch",
        "sweep",
        "tables",
        "settings",
        "summary",
        "figures",
        "plots",
        "display",
        "progress",
        "bench.report",
    ),
    ("device", "data.augment", "data.resident", "models.shortcuts", "models.conv"),
    (
        "training.graph",
        "training.sgd",
        "training.step",
        "training.evaluation",
        "training.engine",
        "training.loop",
        "training.checkpoint",
    ),
    ("run", "workers", "execute"),
    ("bench.floors", "bench.usual", "bench.measure", "bench.run"),
    ("cli", "__main__"),
)
WITHOUT_TORCH = FLOORS[0] + FLOORS[1] + FLOORS[2] + FLOORS[-1]


def modules():
    for path in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        if not name.endswith(".__init__"):
            yield name, path


def floor(name):
    found = [i for i, rooms in enumerate(FLOORS) if name in rooms]
    assert found, f"{name} has no floor: enter it in tests/test_architecture.py"
    return found[0]


def imports(tree, *, top_only):
    """Names of imported modules; those at the top of a file run when it is loaded, whatever is asked of it."""
    nodes = tree.body if top_only else ast.walk(tree)
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize(("name", "path"), list(modules()))
def test_imports_go_down_never_up(name, path):
    rooms = {room for rooms in FLOORS for room in rooms}
    # The command line alone loads its workers late; elsewhere an import inside a function is no way around.
    for module in imports(ast.parse(path.read_text()), top_only=name in ("cli", "__init__")):
        room = module.removeprefix("resdepth.")
        if module.startswith("resdepth.") and room in rooms:
            assert floor(room) <= floor(name), f"{name} imports {room} from a floor above"


def test_rooms_of_one_floor_do_not_import_each_other_in_a_circle():
    rooms = {room for rooms in FLOORS for room in rooms}
    graph = {}
    for name, path in modules():
        found = (m.removeprefix("resdepth.") for m in imports(ast.parse(path.read_text()), top_only=True))
        graph[name] = {m for m in found if m in rooms and m != name}
    while graph:
        leaves = {name for name, below in graph.items() if not below & graph.keys()}
        assert leaves, f"a circle among {sorted(graph)}"
        graph = {name: below for name, below in graph.items() if name not in leaves}


@pytest.mark.parametrize(("name", "path"), list(modules()))
def test_torch_is_loaded_only_where_it_is_needed(name, path):
    heavy = [
        m for m in imports(ast.parse(path.read_text()), top_only=True) if m.split(".")[0] in ("torch", "torchvision")
    ]
    assert not heavy or name not in WITHOUT_TORCH


@pytest.mark.parametrize(("name", "path"), list(modules()))
def test_files_and_functions_stay_small(name, path):
    text = path.read_text()
    assert text.count("\n") <= 260, name
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno < 50, f"{name}.{node.name}"


def test_the_top_level_is_the_fixed_one():
    import subprocess

    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=False).stdout
    top = {Path(line).parts[0] for line in listed.splitlines() if not line.startswith(".")}
    if not top:
        pytest.skip("not a git checkout")
    assert top <= {"pyproject.toml", "README.md", "LICENSE", "Makefile", "resdepth", "configs", "tests", "results"}
