"""The public API as a whole: names, docstrings, imports, packaging, and what importing costs."""

import ast
import builtins
import importlib
import importlib.metadata
import inspect
import os
import pkgutil
import re
import subprocess
import sys
import textwrap
import tomllib
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import xpnet as xn
from xpnet.backend import Backend

PACKAGE = Path(xn.__file__).parent
LIBRARIES = {
    *("array_api_compat", "array_api_strict", "cupy", "cupyx", "jax", "jaxlib", "numpy", "torch"),
    "xpnet_backends",
}
# Files, checkpoints and pictures: there NumPy is the format of host memory.
HOST_MEMORY = {
    *("checkpoint/tensors.py", "data/datasets.py", "data/idx.py"),
    *("interop/onnx/building.py", "interop/onnx/tracing.py"),
    *("interop/sklearn/arrays.py", "interop/sklearn/base.py", "interop/sklearn/classifier.py"),
    *("interop/sklearn/labels.py", "interop/sklearn/network.py", "interop/sklearn/regressor.py"),
    *("interop/sklearn/storing.py", "interop/sklearn/targets.py"),
    *("plots/boundary.py", "plots/confusion.py", "plots/figure.py"),
}
MATHEMATICS = [
    "autodiff",
    "losses",
    "metrics",
    "nn",
    "optim",
    "random",
    "special",
    "wrapping.py",
]

MODULES = [
    "xpnet",
    *sorted(
        module.name
        for module in pkgutil.walk_packages([str(PACKAGE)], "xpnet.")
        if module.name != "xpnet.__main__"
    ),
]
FILES = sorted(str(path.relative_to(PACKAGE)) for path in PACKAGE.rglob("*.py"))

# Where users find things; the last ones are not shown by example, nor are base classes.
EXEMPLARY = [
    *("xpnet", "xpnet.nn", "xpnet.losses", "xpnet.optim", "xpnet.optim.schedules"),
    *("xpnet.metrics", "xpnet.special", "xpnet.plots"),
    *("xpnet.interop.onnx", "xpnet.interop.sklearn"),
]
PUBLIC = [
    *EXEMPLARY,
    *("xpnet.autodiff", "xpnet.checkpoint", "xpnet.data", "xpnet.nn.init", "xpnet.random"),
]
BASES = (xn.Backend, xn.nn.Module, xn.optim.Optimizer)


def parse(file: str) -> ast.Module:
    return ast.parse((PACKAGE / file).read_text(encoding="utf-8"))


def is_package(module: str) -> bool:
    return hasattr(importlib.import_module(module), "__path__")


def objects(modules: list[str]) -> Iterator[tuple[str, Any]]:
    """Yield what users find in these modules, each thing once, errors aside."""
    seen = set()
    for module in modules:
        for name in importlib.import_module(module).__all__:
            found = getattr(importlib.import_module(module), name)
            error = isinstance(found, type) and issubclass(found, Exception)
            if not isinstance(found, types.ModuleType) and not error and id(found) not in seen:
                seen.add(id(found))
                yield f"{module}.{name}", found


def params(pairs: Iterator[tuple[str, Any]]) -> list[Any]:
    return [pytest.param(found, id=name.removeprefix("xpnet.")) for name, found in pairs]


def sections(documented: Any) -> dict[str, list[str]]:
    """Return the lines of each section of a numpydoc docstring, the summary under ""."""
    found: dict[str, list[str]] = {"": []}
    lines = inspect.cleandoc(documented.__doc__ or "").splitlines()
    current = ""
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        if line and set(following) == {"-"} and len(following) == len(line):
            current = line
            found[current] = []
        elif set(line) != {"-"}:
            found[current].append(line)
    return found


def documented_names(lines: list[str]) -> list[str]:
    """Return the names that head the entries of a section, without stars."""
    heads = [line.partition(" : ")[0] for line in lines if line and not line.startswith(" ")]
    return [name.strip().lstrip("*") for head in heads for name in head.split(",")]


def parameters(documented: Any) -> list[str]:
    """Return the parameters that a caller passes."""
    if not isinstance(documented, type):
        return list(inspect.signature(documented).parameters)
    if documented.__init__ is not object.__init__:
        return list(inspect.signature(documented.__init__).parameters)[1:]
    return list(getattr(documented, "_fields", []))  # those of a named tuple


def returns_nothing(function: Any) -> bool:
    return inspect.signature(function).return_annotation in (None, "None")


def run(*args: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *args], capture_output=True, text=True, check=True, timeout=120, **options
    )


# Names


@pytest.mark.parametrize("module", MODULES)
def test_all_names_what_is_there(module: str) -> None:
    names = importlib.import_module(module).__all__
    assert len(set(names)) == len(names)
    tree = parse(importlib.import_module(module).__file__)
    imported, defined = set(), set()
    lazy = [node for block in tree.body if isinstance(block, ast.If) for node in block.body]
    for node in [*tree.body, *lazy]:
        if isinstance(node, ast.ImportFrom) and node.module not in ("__future__", "typing"):
            imported |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            defined.add(node.name)
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            defined |= {target.id for target in targets if isinstance(target, ast.Name)}
    if is_package(module):
        assert set(names) == imported
    else:
        assert set(names) <= defined


@pytest.mark.parametrize("module", [name for name in MODULES if is_package(name)])
def test_a_package_passes_on_public_names_only(module: str) -> None:
    """What a package re-exports, the module it comes from exports."""
    for node in parse(importlib.import_module(module).__file__).body:
        if isinstance(node, ast.ImportFrom):
            source = importlib.import_module(node.module)
            for alias in node.names:
                found = getattr(source, alias.name)
                assert isinstance(found, types.ModuleType) or alias.name in source.__all__


@pytest.mark.parametrize("module", MODULES)
def test_all_is_sorted(module: str) -> None:
    """As the linter sorts: constants, then classes, then the rest."""

    def rank(name: str) -> tuple[int, str]:
        return (0 if name.isupper() else 1 if name[0].isupper() else 2), name

    names = importlib.import_module(module).__all__
    assert list(names) == sorted(names, key=rank)


# Docstrings


@pytest.mark.parametrize("found", params(objects(PUBLIC)))
def test_docstring(found: Any) -> None:
    doc = sections(found)
    assert "".join(doc[""]).strip(), "no summary"
    expected = parameters(found)
    assert documented_names(doc.get("Parameters", [])) == expected
    if not isinstance(found, type) and not returns_nothing(found):
        assert "Returns" in doc or "Yields" in doc
        assert any(line.startswith(" ") for line in doc.get("Returns", doc.get("Yields", [])))


@pytest.mark.parametrize(
    "found",
    params((name, x) for name, x in objects(EXEMPLARY) if x not in BASES),
)
def test_docstring_has_an_example(found: Any) -> None:
    assert any(line.lstrip().startswith(">>>") for line in sections(found).get("Examples", []))


@pytest.mark.parametrize("found", params(objects(PUBLIC)))
def test_docstring_names_what_is_raised(found: Any) -> None:
    """What a function, or a constructor, raises by itself is in its docstring."""
    methods = vars(found) if isinstance(found, type) else {"__init__": inspect.unwrap(found)}
    function = methods.get("__post_init__", methods.get("__init__"))  # that of a dataclass first
    source = inspect.getsource(function) if hasattr(function, "__code__") else ""
    raised = {
        node.exc.func.id
        for node in ast.walk(ast.parse(textwrap.dedent(source)))
        if isinstance(node, ast.Raise)
        and isinstance(node.exc, ast.Call)
        and isinstance(node.exc.func, ast.Name)
    }
    named = set(documented_names(sections(found).get("Raises", [])))
    for error in raised:
        kinds = (getattr(xn, error, None) or getattr(builtins, error)).__mro__
        assert named & {kind.__name__ for kind in kinds}, error


@pytest.mark.parametrize(
    "found", params((name, x) for name, x in objects(PUBLIC) if isinstance(x, type))
)
def test_public_methods_have_docstrings(found: type) -> None:
    methods = {
        name: value
        for name, value in vars(found).items()
        if isinstance(value, types.FunctionType) and not name.startswith("_")
    }
    assert [name for name, method in methods.items() if not method.__doc__] == []


def test_the_checker_of_docstrings_can_fail() -> None:
    def function(x: int, /, *rest: int, y: int = 0) -> int:
        """Add.

        Parameters
        ----------
        x, *rest : int
            Numbers.

        Returns
        -------
        int
            Sum.
        """
        return x + sum(rest) + y

    assert parameters(function) == ["x", "rest", "y"]
    doc = sections(function)
    assert documented_names(doc["Parameters"]) == ["x", "rest"]
    assert doc["Returns"] == ["int", "    Sum."]
    assert "Examples" not in doc


# Which libraries are named where


def imports(tree: ast.AST) -> Iterator[str]:
    """Yield the top-level name of everything imported at run time."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for branch in node.orelse:
                yield from imports(ast.Module([branch], []))
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(
            ("import_module", "__import__")
        ):
            yield from (x.value.partition(".")[0] for x in node.args if isinstance(x, ast.Constant))
        yield from imports(node)


@pytest.mark.parametrize("file", FILES)
def test_no_array_library_is_imported(file: str) -> None:
    allowed = {"numpy"} if file in HOST_MEMORY else set()
    assert set(imports(parse(file))) & LIBRARIES == allowed


def test_the_checker_of_imports_can_fail() -> None:
    source = """
    import numpy.linalg as la
    from . import torch
    if TYPE_CHECKING:
        import torch
    else:
        import jax
    def f():
        from cupy import cuda
        importlib.import_module("array_api_strict")
    """
    found = set(imports(ast.parse(inspect.cleandoc(source))))
    assert found == {"numpy", "jax", "cupy", "array_api_strict"}


def names_in_code(tree: ast.AST) -> Iterator[str]:
    """Yield every identifier and every text of a program, docstrings aside."""
    docstrings = set()
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list) and body and isinstance(body[0], ast.Expr):
            docstrings.add(id(body[0].value))
    for node in ast.walk(tree):
        for _, value in ast.iter_fields(node):
            if isinstance(value, str) and id(node) not in docstrings:
                yield value


@pytest.mark.parametrize("file", [name for name in FILES if name.partition("/")[0] in MATHEMATICS])
def test_the_mathematics_knows_no_library(file: str) -> None:
    """No library is named in code at all, so nothing can depend on which one it is."""
    pattern = re.compile("|".join(LIBRARIES), re.IGNORECASE)
    assert [text for text in names_in_code(parse(file)) if pattern.search(text)] == []


def test_the_checker_of_names_can_fail() -> None:
    source = '''
    """For NumPy."""
    def f(x):
        """For CuPy."""
        return is_torch(x) or "jax" in type(x).__module__  # of NumPy
    '''
    names = set(names_in_code(ast.parse(inspect.cleandoc(source))))
    assert names == {"f", "x", "is_torch", "jax", "type", "__module__"}


# A fresh interpreter


def test_import_loads_no_array_library_but_numpy() -> None:
    code = "import sys, xpnet; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    assert set(run("-c", code).stdout.split()) & LIBRARIES <= {"numpy"}


def test_import_writes_nothing_and_prints_nothing(tmp_path: Path) -> None:
    home, here, temporary = (tmp_path / name for name in ("home", "here", "temporary"))
    for folder in (home, here, temporary):
        folder.mkdir()
        folder.chmod(0o555)
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("XDG_", "XPNET_"))}
    variables = {"HOME": home, "USERPROFILE": home, "TMPDIR": temporary, "TEMP": temporary}
    env = {**kept, **{name: str(folder) for name, folder in variables.items()}}
    done = run("-W", "error", "-c", "import xpnet", cwd=here, env=env)
    assert (done.stdout, done.stderr) == ("", "")
    assert [path for path in tmp_path.rglob("*") if path not in (home, here, temporary)] == []


def test_import_changes_no_settings() -> None:
    code = """if True:
        import locale, logging, os, signal, sys, warnings
        import numpy as np
        import random

        def settings():
            return [
                np.get_printoptions(), np.geterr(), np.random.get_state()[1].tolist(),
                random.getstate(), list(warnings.filters), warnings.showwarning,
                logging.root.level, list(logging.root.handlers), dict(os.environ), os.getcwd(),
                sys.excepthook, sys.getrecursionlimit(), list(sys.path), locale.setlocale(0),
                signal.getsignal(signal.SIGINT),
            ]

        before = settings()
        import xpnet
        xpnet.asarray([1.0]), xpnet.nn.Linear(2, 2)
        print([i for i, (a, b) in enumerate(zip(before, settings())) if a != b])
    """
    assert run("-c", code).stdout == "[]\n"


def import_time(*modules: str) -> float:
    """Return the seconds that a fresh interpreter takes to import these modules."""
    stderr = run("-X", "importtime", "-c", f"import {', '.join(modules)}").stderr
    rows = [line.removeprefix("import time:").split("|") for line in stderr.splitlines()]
    times = {name[1:]: int(total) for _, total, name in rows[1:] if not name.startswith("  ")}
    return sum(times[module] for module in modules) / 1e6


def test_import_takes_no_longer_than_that_of_numpy() -> None:
    import_time("xpnet")  # writes the byte code
    # The fastest of several, since other programs can only make it slower.
    ours, theirs = (
        min(import_time(*modules) for _ in range(9))
        for modules in (("xpnet",), ("numpy", "array_api_compat"))
    )
    assert ours < theirs


# Packaging


@pytest.fixture
def project() -> dict[str, Any]:
    """The project file of the checkout; an installed copy has none."""
    file = PACKAGE.parent / "pyproject.toml"
    if not file.exists():
        pytest.skip("xpnet is not run from a checkout, so there is no pyproject.toml")
    return tomllib.loads(file.read_text(encoding="utf-8"))


def test_the_version_is_that_of_the_package() -> None:
    assert xn.__version__ == importlib.metadata.version("xpnet")


def test_every_folder_is_packaged(project: dict[str, Any]) -> None:
    folders = {"xpnet": PACKAGE, "xpnet_backends": PACKAGE.parent / "backends"}
    found = {
        ".".join([name, *file.parent.relative_to(folder).parts])
        for name, folder in folders.items()
        for file in folder.rglob("*.py")
    }
    packages = project["tool"]["setuptools"]["packages"]
    assert sorted(packages) == sorted(found)
    for package in packages:
        assert importlib.import_module(package).__file__ is not None, "no __init__.py"


def test_every_entry_point_loads(project: dict[str, Any]) -> None:
    declared = project["project"]["entry-points"]["xpnet.backends"]
    installed = importlib.metadata.distribution("xpnet").entry_points
    assert {entry.name: entry.value for entry in installed} == declared
    modules = pkgutil.iter_modules([str(PACKAGE.parent / "backends")])
    assert {module.name for module in modules} == set(declared)
    for entry in installed:
        assert issubclass(entry.load(), Backend)
        assert entry.load().name == entry.name


@pytest.mark.parametrize("package", ["xpnet", "xpnet_backends"])
def test_types_are_announced(package: str) -> None:
    [folder] = importlib.import_module(package).__path__
    assert (Path(folder) / "py.typed").exists()
