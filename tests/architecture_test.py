"""The house as it is built: imports run down, in no circle, and shared code names no paper.

Imports inside functions count, and so do modules that are imported by a constant name.
"""

import ast
import functools
from pathlib import Path

import networkx
import pytest

ROOT = Path(__file__).parents[1]
PAPERS = sorted(path.name for path in ROOT.glob("*_tf") if path.name != "restore_tf")

# Floors from the ground up; a room may import what is on its floor or below.
FLOORS = (
    ("errors",),
    ("system",),
    ("networks",),
    ("pictures", "experiments"),
    ("weights",),
    ("inference", "evaluation", "video", "datasets"),
    ("training", "export", "serving", "app"),
    ("commands",),
    ("__main__",),
)
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}


def files():
    """{module: path} of everything that is installed, and of the scripts at the top."""
    found = {}
    for path in sorted(ROOT.glob("*.py")):
        if path.stem != "setup":
            found[path.stem] = path
    for folder in (*PAPERS, "restore_tf", "datasets"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            if path.name.endswith("_test.py"):
                continue
            parts = list(path.relative_to(ROOT).with_suffix("").parts)
            if parts[0] == "datasets":
                parts.insert(0, "restore_tf")
            if parts[-1] == "__init__":
                parts.pop()
            found.setdefault(".".join(parts), path)
    return found


MODULES = files()


@functools.cache
def parsed(path):
    return ast.parse(path.read_text(encoding="utf-8"))


def imports(module, path):
    """Yields the modules of ours that a file imports."""
    for node in ast.walk(parsed(path)):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative imports hide where a name comes from"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "import_module":
            names = [arg.value for arg in node.args if isinstance(arg, ast.Constant)]
        for name in names:
            while name and name not in MODULES:
                name = name.rpartition(".")[0]
            if name and name != module:
                yield name


@pytest.fixture(scope="module")
def graph():
    found = networkx.DiGraph()
    for module, path in MODULES.items():
        found.add_node(module)
        found.add_edges_from((module, name) for name in imports(module, path))
    return found


def room(module):
    parts = module.split(".")
    if parts[0] == "restore_tf":
        return parts[1] if len(parts) > 1 else "restore_tf"
    return parts[0] if parts[0] in PAPERS else f"{parts[0]}.py"


def test_no_import_circle(graph):
    circles = [sorted(part) for part in networkx.strongly_connected_components(graph)]
    assert [part for part in circles if len(part) > 1] == []


def test_rooms_make_no_circle_either(graph):
    rooms = networkx.DiGraph()
    for source, target in graph.edges:
        if room(source) != room(target) and "restore_tf" not in (room(source), room(target)):
            rooms.add_edge(room(source), room(target))
    circles = [sorted(part) for part in networkx.strongly_connected_components(rooms)]
    assert [part for part in circles if len(part) > 1] == []


def test_every_room_has_its_floor(graph):
    rooms = {room(module) for module in graph if module.startswith("restore_tf.")}
    assert rooms == set(FLOOR)


def test_imports_run_down(graph):
    up = [
        f"{source} -> {target}"
        for source, target in graph.edges
        if source.startswith("restore_tf.")
        and target.startswith("restore_tf.")
        and FLOOR[room(source)] < FLOOR[room(target)]
    ]
    assert up == []


def test_papers_import_the_ground_floors_and_never_each_other(graph):
    allowed = {"errors", "system", "networks", "experiments"}
    for source, target in graph.edges:
        paper, other = source.split(".")[0], target.split(".")[0]
        if paper not in PAPERS:
            assert other not in PAPERS, f"{source} imports the paper {target}"
        elif other != paper:
            reads_weights = source == f"{paper}.convert" or paper == "baselines_tf"
            rooms = allowed | ({"weights"} if reads_weights else set())
            assert other == "restore_tf" and room(target) in rooms, f"{source} imports {target}"


def words(path):
    """Names in the code, and strings that are not docstrings, with their lines."""
    tree = parsed(path)
    documented = ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, documented) and node.body and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            if id(node) not in docstrings:
                yield node.lineno, node.value
        else:
            for field in ("id", "attr", "arg", "name"):
                value = getattr(node, field, None)
                if isinstance(value, str):
                    yield node.lineno, value


def test_shared_code_names_no_paper():
    """Usage texts may show a paper's name as an example; code may not decide by one."""
    papers = [name.removesuffix("_tf") for name in PAPERS if name != "baselines_tf"]
    named = []
    for module, path in MODULES.items():
        if module.split(".")[0] != "restore_tf":
            continue
        for line, word in words(path):
            low = word.lower()
            if any(low == p or low.startswith(f"{p}_") or f"{p}_tf" in low for p in papers):
                named.append(f"{path.relative_to(ROOT)}:{line} {word[:60]!r}")
    assert named == []


def private(name):
    return name.startswith("_") and not name.endswith("__")


def own_private_names():
    """Names with an underscore that our modules and classes define."""
    found = set()
    for path in MODULES.values():
        for node in ast.walk(parsed(path)):
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                found.add(node.name)
            elif isinstance(node, (ast.Name, ast.Attribute)) and isinstance(node.ctx, ast.Store):
                found.add(node.id if isinstance(node, ast.Name) else node.attr)
    return {name for name in found if private(name)}


def names_used(tree):
    """Yields (line, name) of attributes of others, of imports, and of what is patched by name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            if getattr(node.value, "id", "") not in ("self", "cls"):
                yield node.lineno, node.attr
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.Call):
            called = getattr(node.func, "attr", getattr(node.func, "id", ""))
            if called in ("setattr", "delattr", "getattr", "hasattr", "patch", "object"):
                for argument in node.args:
                    if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                        yield node.lineno, argument.value.rpartition(".")[2]


# Of a state dict of PyTorch's, and of named tuples, which have no other way.
OTHERS = {"_metadata", "_replace"}


def test_tests_use_public_names():
    own, used = own_private_names() - OTHERS, []
    assert own
    for path in sorted((ROOT / "tests").rglob("*.py")):
        for line, name in names_used(parsed(path)):
            if name in own:
                used.append(f"{path.relative_to(ROOT)}:{line} {name}")
    assert used == []


def test_private_names_are_found():
    """Each way in which a test could use one."""
    code = """
from restore_tf.a import _one
a._two = a.b._three()
monkeypatch.setattr(a, "_four", 0)
monkeypatch.setattr("restore_tf.a._five", 0)
self._own = cls._own
"""
    found = [name for _, name in names_used(ast.parse(code)) if private(name)]
    assert sorted(found) == ["_five", "_four", "_one", "_three", "_two"]
