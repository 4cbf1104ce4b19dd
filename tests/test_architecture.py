"""The rules of docs/architecture.md that can be read from the source: imports point downward, and what stands once."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest
from support.paths import ROOT

PACKAGE = ROOT / "numba_lstm"

# From the lowest storey to the highest. A module belongs to the longest entry that its name begins with.
STOREYS = (
    *("errors", "semantics.dialects", "checks", "kernel_cache", "kernels", "backends.cpu", "backends.cuda", "inputs"),
    *("semantics", "driver", "cell", "layers", "model_layers", "inference", "session", "model", "machine", "formats"),
    *("runner", "bench", "doctor"),
)
# Constructors with Keras's own arguments may have more.
MOST_PARAMETERS = 8


def trees() -> dict[str, ast.Module]:
    """The syntax tree of each module by its name, without "numba_lstm." in front."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = ast.parse(path.read_text(encoding="utf-8"))
    return found


TREES = trees()


def storey(module: str) -> int:
    """The number of a module's storey."""
    fitting = [entry for entry in STOREYS if module == entry or module.startswith(f"{entry}.")]
    assert fitting, f"{module} has no storey: add it to STOREYS and to docs/architecture.md"
    return STOREYS.index(max(fitting, key=len))


def statements(node: ast.AST, late: bool) -> Iterator[ast.stmt]:
    """Those that run when a module is imported, and with `late` those in functions; none for type checkers alone."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
            continue
        if isinstance(child, ast.stmt):
            yield child
        if late or not isinstance(child, ast.FunctionDef):
            yield from statements(child, late)


def imports(module: str, late: bool) -> set[str]:
    """The modules of the package that a module imports."""
    found = set()
    for statement in statements(TREES[module], late):
        if isinstance(statement, ast.ImportFrom) and (statement.module or "").split(".")[0] == "numba_lstm":
            source = (statement.module or "")[len("numba_lstm.") :]
            for alias in statement.names:
                name = f"{source}.{alias.name}".lstrip(".")
                found.add(name if name in TREES else source)
    return found - {module, ""}


@pytest.mark.parametrize("module", [module for module in TREES if module])
def test_imports_point_downward(module: str) -> None:
    upward = [other for other in imports(module, late=True) if storey(other) > storey(module)]
    assert not upward


def test_there_is_no_circle_of_imports() -> None:
    graph = {module: imports(module, late=False) for module in TREES}
    while graph:
        leaves = [module for module, others in graph.items() if not others & graph.keys()]
        assert leaves, f"a circle among {sorted(graph)}"
        for module in leaves:
            del graph[module]


def test_llvmlite_is_in_two_files_and_the_loader() -> None:
    users = [
        module
        for module, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        and any(name.split(".")[0] == "llvmlite" for name in (getattr(node, "module", "") or "", *_names(node)))
    ]
    assert set(users) == {"kernels.simd", "kernels.ops", "kernel_cache.loader"}


def _names(node: ast.Import | ast.ImportFrom) -> list[str]:
    return [alias.name for alias in node.names]


def test_few_positional_parameters() -> None:
    many = [
        f"{module}.{node.name}: {number}"
        for module, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and node.name != "__init__"
        if (number := len(node.args.posonlyargs + node.args.args)) > MOST_PARAMETERS
    ]
    assert not many


def test_only_the_equations_combine_the_gates() -> None:
    """c' = f * c + i * candidate is one fma; no other module of kernels has a gate and a state in one."""
    gates, states = {"f", "forget", "z_f"}, {"c", "carry", "state"}
    elsewhere = [
        f"{module}:{node.lineno}"
        for module, tree in TREES.items()
        if module.startswith("kernels.") and module != "kernels.equations"
        for node in ast.walk(tree)
        if isinstance(node, ast.BinOp | ast.Call)
        for names in [{name.id for name in ast.walk(node) if isinstance(name, ast.Name)}]
        if names & gates and names & states and _multiplies(node)
    ]
    assert not elsewhere


def _multiplies(node: ast.BinOp | ast.Call) -> bool:
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and node.func.id in ("fma", "mul_add")
    return isinstance(node.op, ast.Mult)


def test_every_folder_says_what_is_in_it() -> None:
    for path in PACKAGE.rglob("__init__.py"):
        docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
        assert docstring, path


def test_the_page_names_every_folder_and_module_of_the_root() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    names = [path.name for path in PACKAGE.iterdir() if path.suffix == ".py" and path.name != "__init__.py"]
    names += [path.parent.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("__init__.py")]
    missing = [name for name in names if name != "." and name.split("/")[0] not in page]
    assert not missing
