"""Rules that hold in the source of the CUDA kernels and of the backend that calls them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import numba_lstm

PACKAGE = Path(numba_lstm.__file__).parent
FILES = sorted([*PACKAGE.glob("kernels/cuda*.py"), *PACKAGE.glob("backends/cuda/*.py")])
GATES = {"i", "f", "o", "candidate"}


def functions(path: Path) -> Iterator[ast.FunctionDef]:
    return (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef))


@pytest.mark.parametrize("name", ["cuda.py", "cuda_resident.py"])
def test_kernels_have_a_step_and_a_sequence_that_calls_it(name: str) -> None:
    found = {each.name: each for each in functions(PACKAGE / "kernels" / name)}
    (loop,) = (
        node
        for node in ast.walk(found["sequence"])
        if isinstance(node, ast.For) and isinstance(node.target, ast.Name) and node.target.id == "t"
    )
    called = {node.func.id for node in ast.walk(loop) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    assert "step" in called and "step" in found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_gates_are_combined_in_the_equations_alone(path: Path) -> None:
    """No product of a gate, and no fma of one but where a sum of products is made from weights."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
            names = {each.id for each in (node.left, node.right) if isinstance(each, ast.Name)}
            assert not names & GATES, f"line {node.lineno} of {path.name}"


def test_thresholds_stand_in_one_file() -> None:
    """Constants that are numbers elsewhere in the backend name no limit of anything: they are CUDA's and DLPack's."""
    for path in PACKAGE.glob("backends/cuda/*.py"):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.Assign) and path.name != "policy.py":
                words = {word for name in ast.walk(node) if isinstance(name, ast.Name) for word in name.id.split("_")}
                assert not words & {"THREADS", "BLOCKS", "BYTES", "LARGEST", "MOST", "WARPS", "REGISTERS", "ROWS"}
