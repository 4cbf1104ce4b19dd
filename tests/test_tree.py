"""The folder of the tests: modules that test, each by itself, where the package has what they are about."""

from __future__ import annotations

import ast
from pathlib import Path

from support.paths import ROOT, TESTS

# Folders whose modules each have a test module of their name, with those that have none yet.
MIRRORED: dict[str, set[str]] = {
    "backends/cpu": set(),
    "backends/cuda": set(),
    "formats": set(),
    "kernel_cache": set(),
    "kernels": set(),
    "runner": set(),
    "semantics": set(),
}
MODULES = sorted(TESTS.rglob("test_*.py"))


def imported(path: Path) -> set[str]:
    """The names of the modules that a file imports, and what it takes from them, as they may be modules too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            found.update(f"{node.module}.{name.name}" for name in node.names)
    return found


def test_no_module_imports_a_test_module() -> None:
    tests = {path.stem for path in MODULES} | {"conftest"}
    importing = {path.name for path in TESTS.rglob("*.py") if any(tests & set(n.split(".")) for n in imported(path))}
    assert MODULES and not importing


def test_folders_of_tests_are_those_of_the_package() -> None:
    own = {"data", "differential", "fuzz", "goldens", "oracles", "stress", "support"}
    for folder in {path.parent.relative_to(TESTS) for path in MODULES} - {Path()}:
        assert folder.parts[0] not in own
        assert (ROOT / "numba_lstm" / folder).is_dir() or folder == Path("cli"), folder


def test_each_module_has_a_test_module_of_its_name() -> None:
    for folder, without in MIRRORED.items():
        modules = {path.stem for path in (ROOT / "numba_lstm" / folder).glob("*.py")} - {"__init__"}
        tested = {path.stem.removeprefix("test_") for path in (TESTS / folder).glob("test_*.py")}
        assert without <= modules, f"{folder}: there is no such module"
        assert modules and modules - tested <= without, f"{folder}: without a test module"


def test_helpers_and_data_have_folders_of_their_own() -> None:
    loose = {path.name for path in TESTS.iterdir() if path.is_file() and not path.name.startswith("test_")}
    assert loose == {"conftest.py", "naive.py"}
