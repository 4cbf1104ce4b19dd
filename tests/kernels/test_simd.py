"""Vector widths: the same bits from each, tiles that fit the registers, and LLVM in two files only."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from pathlib import Path

import numpy as np
import pytest
from support import assembly
from support.builds import Build, built, check_loops, on_aarch64
from support.widths import EVERY_KIND, SOME_KINDS

from numba_lstm import kernels

KERNELS = Path(kernels.__file__).parent


def beside(folder: Path) -> list[Build]:
    """The builds of some kinds."""
    return built(folder, False, len(SOME_KINDS), "support.widths")


@pytest.fixture(scope="module", params=[False, pytest.param(True, marks=pytest.mark.slow)], ids=["some", "every"])
def builds(
    request: pytest.FixtureRequest, beside: list[Build], tmp_path_factory: pytest.TempPathFactory
) -> list[Build]:
    """This machine's own width, and AVX2 where the machine has it."""
    if not request.param:
        return beside
    return built(tmp_path_factory.mktemp("builds"), True, 2 * len(EVERY_KIND), "support.widths")


@pytest.fixture
def own(builds: list[Build]) -> Build:
    return builds[0]


@pytest.fixture
def avx2(builds: list[Build]) -> Build:
    if len(builds) == 1:
        pytest.skip("this machine has no AVX2 with FMA")
    return builds[1]


def test_the_same_bits_from_another_width(own: Build, avx2: Build) -> None:
    assert avx2.vector_bits == 256
    assert avx2.arrays.keys() == own.arrays.keys()
    for name, array in own.arrays.items():
        assert np.isfinite(array).all()
        assert array.tobytes() == avx2.arrays[name].tobytes(), name


def test_sums_stay_in_registers_on_this_machine(own: Build) -> None:
    check_loops(own.texts("s"), 6 if own.vector_bits == 512 else 3)


def test_sums_stay_in_registers_with_avx2(avx2: Build) -> None:
    check_loops(avx2.texts("s"), 3)
    assert not any("%zmm" in text for text in avx2.texts("s"))


def test_sums_stay_in_registers_on_aarch64(avx2: Build) -> None:
    """Compiled for another processor from the code for AVX2: NEON takes a vector of ours in two registers of its 32."""
    # Two registers a vector: twice the instructions.
    check_loops(on_aarch64(avx2), 2 * 3)


def test_a_spill_is_noticed() -> None:
    with_avx2 = """
    project:
    .LBB0_1:
        vmovups (%rsi), %ymm0
        vbroadcastss (%r9), %ymm1
        vfmadd231ps %ymm0, %ymm1, %ymm6
        vfmadd231ps %ymm0, %ymm1, %ymm7
        vmovups 64(%rsp), %ymm10
        vfmadd231ps %ymm0, %ymm1, %ymm10
        vfmadd231ps %ymm0, %ymm1, %ymm9
        vmovups %ymm10, 64(%rsp)
        movq 8(%rsp), %rax
        ja .LBB0_1
    """
    assert assembly.product_loops(with_avx2) == [
        ("project", 4, ["vmovups 64(%rsp), %ymm10", "vmovups %ymm10, 64(%rsp)"])
    ]
    on_aarch64 = """
    project:
    .LBB0_1:
        ldr q0, [x1], #16
        ldp q4, q5, [sp, #32]
        fmla v4.4s, v0.4s, v1.s[0]
        fmla v5.4s, v0.4s, v1.s[1]
        fmla v6.4s, v0.4s, v1.s[2]
        fmla v7.4s, v0.4s, v1.s[3]
        ldr x9, [sp, #8]
        b.ne .LBB0_1
    """
    assert assembly.product_loops(on_aarch64) == [("project", 4, ["ldp q4, q5, [sp, #32]"])]


def lines_of_code(source: str) -> int:
    """Lines with a token on them that is neither a comment nor part of a docstring; blank lines have none."""
    documented: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            documented.update(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    nothing = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in nothing:
            lines.update(range(token.start[0], token.end[0] + 1))
    return len(lines - documented)


def test_llvm_is_touched_in_two_small_files() -> None:
    package = KERNELS.parent
    sources = [*package.rglob("*.py"), *(package.parent / "cli").rglob("*.py")]
    touching = {path for path in sources if re.search(r"(?m)^\s*(?:from|import)\s+llvmlite", path.read_text())}
    assert touching == {KERNELS / "ops.py", KERNELS / "simd.py", package / "kernel_cache" / "loader.py"}
    assert sum(lines_of_code(path.read_text()) for path in touching) <= 330
    assert lines_of_code('"""A module."""\n\n# a comment\nx = [\n    1,\n]\n') == 3
