"""Vector widths: the same bits from each, tiles that fit the registers, and LLVM in two files only."""

from __future__ import annotations

import ast
import io
import itertools
import os
import re
import sys
import tokenize
from pathlib import Path
from typing import Any

import assembly
import beside as processes
import llvmlite.binding as llvm
import numpy as np
import pytest

from numba_lstm import driver, kernels
from numba_lstm.backends.cpu import threads
from numba_lstm.kernels import cpu, simd

TESTS, KERNELS = Path(__file__).parent, Path(kernels.__file__).parent
# What every CPU with AVX2 and FMA has, in full: with the name alone numba keeps the features of this machine.
AVX2 = {
    "NUMBA_CPU_NAME": "haswell",
    "NUMBA_CPU_FEATURES": "+64bit,+avx,+avx2,+bmi,+bmi2,+cmov,+crc32,+cx16,+cx8,+f16c,+fma,+fsgsbase,+fxsr,+lzcnt,"
    "+mmx,+movbe,+pclmul,+popcnt,+sahf,+sse,+sse2,+sse3,+sse4.1,+sse4.2,+ssse3,+xsave,+xsaveopt",
}
FEW, MANY = (1, 2, 5), (6, 8, 9, 52)
# Rows, dtype, and with masks or without: one compilation or two each, and compiling is all that takes time here.
EVERY_KIND = tuple(itertools.product((MANY, FEW), ("float32", "float64"), (True, False)))
SOME_KINDS = (MANY, "float32", True), (FEW, "float64", False)
# The first two pairs are computed by one kernel, the third one, which only `every` kind comes with, by another.
ACTIVATIONS = ("tanh", "sigmoid"), ("tanh", "hard_sigmoid"), ("relu", "sigmoid")
SHAPES = ((3, 5), (17, 16), (130, 21), (9, 150))  # (input_dim, units): below and above 16 units, and long sums


def results(everything: bool) -> dict[str, Any]:
    """Outputs and states of some or all kinds of kernels, from seeds."""
    found = {}
    for rows, dtype, masked in EVERY_KIND if everything else SOME_KINDS:
        for input_dim, units in SHAPES:
            rng = np.random.default_rng(units)

            def numbers(*shape: int, rng: Any = rng, dtype: str = dtype) -> Any:
                return (rng.standard_normal(shape) / 4).astype(dtype)

            cells = [
                driver.pack_cell(
                    numbers(input_dim, 4 * units),
                    numbers(units, 4 * units),
                    numbers(4 * units),
                    activation=activation,
                    recurrent_activation=recurrent,
                    dialect="tf1",
                    dtype=dtype,
                )
                for activation, recurrent in ACTIVATIONS[: 3 if everything else 2]
            ]
            for batch in rows:
                x, h, c = numbers(batch, 7, input_dim), numbers(batch, units), numbers(batch, units)
                options: list[dict[str, Any]] = [{}]
                if masked:
                    mask = rng.random((batch, 7)) < 0.7
                    options = [
                        {"mask": mask},
                        {"mask": mask, "dropout_mask": numbers(4, batch, input_dim)},
                        {
                            "dropout_mask": numbers(1, batch, input_dim),
                            "recurrent_dropout_mask": numbers(1, batch, units),
                        },
                        {"recurrent_dropout_mask": numbers(4, batch, units), "zero_output_for_mask": True},
                    ]
                for cell_number, cell in enumerate(cells):
                    for number, chosen in enumerate(options):
                        arrays = driver.sequence(cell, x, h, c, return_sequences=True, **chosen)
                        key = f"{dtype} {batch} {input_dim} {units} {cell_number} {number}"
                        found.update({f"{key} {name}": array for name, array in zip("yhc", arrays, strict=True)})
    weights = (np.random.default_rng(3).standard_normal((200, 37)) / 4).astype(np.float32)
    layer = driver.pack_dense(weights, weights[0], activation="softmax", dialect="tf1", dtype="float32")
    found["dense"] = driver.dense(layer, weights.T[:, :1] * weights[:, 0])
    return found


def save(folder: str, everything: bool) -> None:
    """In a process of its own: the results, and what was compiled for them."""
    threads.set_num_threads(1)
    write(folder, results(everything))


def write(folder: str, arrays: dict[str, Any]) -> None:
    """For Build to read, with the machine code and LLVM code of all that was compiled."""
    arrays["bits of a vector"] = np.array(simd.VECTOR_BITS)
    np.savez(Path(folder) / "results.npz", **arrays)
    listings = cpu.sequence.inspect_asm(), cpu.sequence.inspect_llvm()
    for ending, compiled in zip(("s", "ll"), listings, strict=True):
        for number, text in enumerate(compiled.values()):
            (Path(folder) / f"{number}.{ending}").write_text(text)


class Build:
    """What a process found that compiled for one kind of CPU, as many kernels as kinds, by save() of a module here."""

    def __init__(
        self, folder: Path, environment: dict[str, str], everything: bool, kinds: int, module: str = "test_widths"
    ) -> None:
        self.folder, self.kinds = folder, kinds
        variables = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(TESTS.parent), str(TESTS)]),
            "NUMBA_LSTM_CACHE_DIR": str(folder / "cache"),
            **environment,
        }
        variables.pop("NUMBA_DISABLE_JIT", None)
        command = [sys.executable, "-c", f"import {module}; {module}.save({str(folder)!r}, {everything})"]
        self.process = processes.start(command, variables, TESTS.parent)

    def read(self) -> Build:
        """Wait for it."""
        processes.end(self.process)
        with np.load(self.folder / "results.npz") as file:
            self.arrays = dict(file)
        self.vector_bits = int(self.arrays.pop("bits of a vector"))
        return self

    def texts(self, ending: str) -> list[str]:
        found = [path.read_text() for path in sorted(self.folder.glob(f"*.{ending}"))]
        assert len(found) == self.kinds
        return found


def beside(folder: Path) -> list[Build]:
    """The builds of some kinds."""
    return built(folder, False, len(SOME_KINDS), "test_widths")


@pytest.fixture(scope="module", params=[False, pytest.param(True, marks=pytest.mark.slow)], ids=["some", "every"])
def builds(
    request: pytest.FixtureRequest, beside: list[Build], tmp_path_factory: pytest.TempPathFactory
) -> list[Build]:
    """This machine's own width, and AVX2 where the machine has it."""
    if not request.param:
        return beside
    return built(tmp_path_factory.mktemp("builds"), True, 2 * len(EVERY_KIND), "test_widths")


def built(folder: Path, everything: bool, kinds: int, module: str) -> list[Build]:
    """Builds for this machine and, where it has AVX2, for that, side by side."""
    features = llvm.get_host_cpu_features()
    environments: list[dict[str, str]] = [{}]
    if features.get("avx2") and features.get("fma"):
        environments.append(AVX2)
    folders = [folder / str(number) for number in range(len(environments))]
    for each in folders:
        each.mkdir()
    started = [
        Build(each, chosen, everything, kinds, module) for each, chosen in zip(folders, environments, strict=True)
    ]
    return [build.read() for build in started]


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


def check_loops(texts: list[str], rows: int) -> None:
    """No inner product moves sums through the stack; tiles of so many rows are among them, and one row's two blocks."""
    most = {}
    for text in texts:
        for loop in assembly.product_loops(text):
            assert not loop.spills, f"{loop.function}: {loop.spills}"
            name = next(name for name in ("project", "sequence", loop.function) if name in loop.function)
            most[name] = max(most.get(name, 0), loop.fmas)
    assert most["project"] >= 4 * rows, most
    assert most["sequence"] >= 8, most


def test_sums_stay_in_registers_on_this_machine(own: Build) -> None:
    check_loops(own.texts("s"), 6 if own.vector_bits == 512 else 3)


def test_sums_stay_in_registers_with_avx2(avx2: Build) -> None:
    check_loops(avx2.texts("s"), 3)
    assert not any("%zmm" in text for text in avx2.texts("s"))


def test_sums_stay_in_registers_on_aarch64(avx2: Build) -> None:
    """Compiled for another processor from the code for AVX2: NEON takes a vector of ours in two registers of its 32."""
    # Two registers a vector: twice the instructions.
    check_loops(on_aarch64(avx2), 2 * 3)


def on_aarch64(avx2: Build) -> list[str]:
    """The machine code for an ARM processor."""
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    triple = "aarch64-unknown-linux-gnu"
    try:
        target = llvm.Target.from_triple(triple)
    except RuntimeError:
        pytest.skip("this build of LLVM cannot compile for aarch64")
    machine = target.create_target_machine(cpu="neoverse-n1", opt=3)
    texts = []
    for code in avx2.texts("ll"):
        code = re.sub(r"(?m)^target triple = .*$", f'target triple = "{triple}"', code)
        code = re.sub(r"(?m)^target datalayout = .*$", f'target datalayout = "{machine.target_data}"', code)
        texts.append(machine.emit_assembly(llvm.parse_assembly(code)))
    return texts


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
    assert touching == {KERNELS / "ops.py", KERNELS / "simd.py"}
    assert sum(lines_of_code(path.read_text()) for path in touching) <= 220
    assert lines_of_code('"""A module."""\n\n# a comment\nx = [\n    1,\n]\n') == 3
