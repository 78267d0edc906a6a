"""Docstrings name every parameter of a public function, as its signature has it, and its errors."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
# What is checked; files or folders.
ROOMS = (
    *("restore_tf/" + room for room in ("errors.py", "networks", "experiments", "training")),
    *("restore_tf/" + room for room in ("inference", "evaluation", "app", "video", "weights")),
    *("restore_tf/" + room for room in ("system", "serving", "export", "pictures", "commands")),
    *("datasets", "srn_tf", "mprnet_tf", "maxim_tf", "deblurgan_tf", "diffusion_tf"),
    "baselines_tf",
)
# Keras' own methods, whose one line gives the shapes; `call` with one input as well.
ONE_LINE = ("build", "compute_output_shape", "get_config")
_SECTIONS = ("Args:", "Returns:", "Yields:", "Raises:", "Attributes:")


def sources():
    """{path relative to the root: syntax tree} of the rooms."""
    found = {}
    for room in ROOMS:
        path = ROOT / room
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            name = file.relative_to(ROOT).as_posix()
            if not name.endswith("_test.py"):
                found[name] = ast.parse(file.read_text(encoding="utf-8"))
    return found


def problems(trees):
    """A line for each public function or class whose docstring differs from its code.

    That is, `Args:` that are not the signature's, errors raised without `Raises:`, or sections
    that stand twice or in another order than Args, Returns, Raises.
    """
    documented = _documented_methods(trees)
    found = []
    for path, tree in trees.items():
        for name, node, owner in _public(tree.body):
            wrong = _class_problem(node) if isinstance(node, ast.ClassDef) else ""
            if not isinstance(node, ast.ClassDef):
                wrong = _function_problem(
                    node, owner is not None and (owner.name, node.name), documented
                ) or _raises_problem(node)
            wrong = wrong or _order_problem(node)
            if wrong:
                found.append(f"{path}:{node.lineno} {name}: {wrong}")
    return found


def _public(body, prefix="", owner=None):
    """Yields (name, node, its class or None) of public functions and classes, methods too."""
    for node in body:
        kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
        if not isinstance(node, kinds) or node.name.startswith("_"):
            continue
        if any(isinstance(d, ast.Attribute) and d.attr == "setter" for d in node.decorator_list):
            continue
        yield prefix + node.name, node, owner
        if isinstance(node, ast.ClassDef):
            yield from _public(node.body, f"{prefix}{node.name}.", node)


def _function_problem(node, method, documented):
    expected = _parameters(node, is_method=bool(method))
    given, ragged = _args(node)
    if ragged:
        return f"one parameter a line, not {ragged!r}"
    if given is not None:
        return _difference(expected, given)
    one_input = node.name == "call" and len(expected) == 1
    if not expected or (method and (node.name in ONE_LINE or one_input)):
        return ""
    return "" if method and documented(*method) else f"no Args: for {', '.join(expected)}"


def _raises_problem(node):
    """Of errors that the function itself raises, not in a function within it."""
    inner, raised = list(node.body), set()
    while inner:
        each = inner.pop()
        if isinstance(each, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)):
            continue
        if isinstance(each, ast.Raise) and each.exc is not None:
            error = each.exc.func if isinstance(each.exc, ast.Call) else each.exc
            raised.add(ast.unparse(error))
        inner += ast.iter_child_nodes(each)
    if not raised or "Raises:" in (ast.get_docstring(node) or "").splitlines():
        return ""
    return f"no Raises: for {', '.join(sorted(raised))}"


def _order_problem(node):
    lines = (ast.get_docstring(node) or "").splitlines()
    found = [line for line in lines if line in _SECTIONS[:-1]]  # a class's may be anywhere
    if found != sorted(set(found), key=_SECTIONS.index):
        return f"sections {' '.join(found)}"
    return ""


def _class_problem(node):
    """Of the constructor's arguments, where the class's docstring lists them."""
    given, ragged = _args(node)
    if ragged:
        return f"one parameter a line, not {ragged!r}"
    makes = [each for each in node.body if getattr(each, "name", "") == "__init__"]
    if given is None or not makes:
        return ""
    unknown = [name for name in given if name not in _parameters(makes[0], is_method=True)]
    return f"no parameter {', '.join(unknown)}" if unknown else ""


def _difference(expected, given):
    unknown = [name for name in given if name not in expected]
    missing = [name for name in expected if name not in given]
    words = [f"no parameter {', '.join(unknown)}"] if unknown else []
    return "; ".join(words + ([f"Args: lacks {', '.join(missing)}"] if missing else []))


def _parameters(node, is_method):
    a = node.args
    names = [each.arg for each in (*a.posonlyargs, *a.args, *a.kwonlyargs)]
    names += [each.arg for each in (a.vararg, a.kwarg) if each]
    static = any(isinstance(d, ast.Name) and d.id == "staticmethod" for d in node.decorator_list)
    return names[1:] if is_method and not static else names


def _args(node):
    """(names in the section `Args:` or None, a line of it that is no single name)."""
    lines = (ast.get_docstring(node) or "").splitlines()
    if "Args:" not in lines:
        return None, ""
    names = []
    for line in lines[lines.index("Args:") + 1 :]:
        if line in _SECTIONS:
            break
        if re.match(r"  \S", line):
            entry = re.match(r"  \*{0,2}(\w+):", line)
            if entry is None:
                return names, line.strip()
            names.append(entry[1])
    return names, ""


def _documented_methods(trees):
    """A function of (class, method): whether a base class has `Args:` for the method."""
    classes = {}
    for tree in trees.values():
        for node in (each for each in ast.walk(tree) if isinstance(each, ast.ClassDef)):
            classes.setdefault(node.name, []).append(node)

    def documented(name, method, seen=()):
        bases = [
            base.attr if isinstance(base, ast.Attribute) else getattr(base, "id", "")
            for node in classes.get(name, ())
            for base in node.bases
        ]
        return any(
            any(getattr(m, "name", "") == method and _args(m)[0] for m in node.body)
            or documented(base, method, (*seen, name))
            for base in bases
            if base not in seen
            for node in classes.get(base, ())
        )

    return documented


def test_public_functions_document_their_parameters():
    assert problems(sources()) == []


WRONG = '''
class Base:
    def run(self, image):
        """Runs.

        Args:
          image: a picture.
        """

    def call(self, x):
        """(h, w) -> (h, w)."""

    def both(self, x, y):
        """Takes two."""

class Derived(Base):
    """Has a constructor.

    Args:
      side: in pixels.
    """

    def __init__(self, size):
        pass

    def run(self, image):
        """As the base."""

def none(image):
    """Lacks the section."""

def other(image):
    """Names another.

    Args:
      picture: not there.
    """

def fails():
    """Does not mention its error."""
    raise UserError("x")

def two(a, b):
    """Names both at once.

    Args:
      a, b: numbers.
    """

def twice(a):
    """Has a section twice.

    Raises:
      UserError: always.

    Args:
      a: a number.

    Raises:
      UserError: always.
    """
'''


def test_what_is_wrong_is_found():
    found = [line.partition(" ")[2] for line in problems({"code.py": ast.parse(WRONG)})]
    assert found == [
        "Base.both: no Args: for x, y",
        "Derived: no parameter side",
        "none: no Args: for image",
        "other: no parameter picture; Args: lacks image",
        "fails: no Raises: for UserError",
        "two: one parameter a line, not 'a, b: numbers.'",
        "twice: sections Raises: Args: Raises:",
    ]
