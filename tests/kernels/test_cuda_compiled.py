"""The CUDA kernels compiled for sm_80 and sm_90, without a GPU: registers, IEEE arithmetic, nothing contracted."""

from __future__ import annotations

import re
from functools import partial
from itertools import cycle, product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from support import cuda_compiler

from numba_lstm.backends.cuda import policy
from numba_lstm.backends.cuda.policy import rows_of_block

pytestmark = pytest.mark.cuda_compiler

# Registers of a thread, by dtype and rows of a block, for elementwise activations with no dropout; of the others it is
# enough that they need no more than there are.
CEILINGS = {"float32": {1: 80, 2: 104, 4: 144}, "float64": {1: 96, 2: 144, 4: 208}}
ALL_REGISTERS = 255
CAPABILITIES = (8, 0), (9, 0)
NAMES = ("tanh", "sigmoid"), ("tanh", "hard_sigmoid"), ("gelu", "softplus"), ("softmax", "sigmoid")
SAMPLE = (
    ("float32", ("tanh", "sigmoid"), False, False, 4),
    ("float32", ("tanh", "sigmoid"), True, False, 1),
    ("float32", ("tanh", "hard_sigmoid"), True, True, 2),
    ("float32", ("softmax", "sigmoid"), True, True, 2),
    ("float64", ("tanh", "sigmoid"), True, False, 4),
    ("float64", ("softmax", "sigmoid"), True, True, 2),
)
RESIDENT, PORTABLE = policy.TIERS
# Cells of the resident tier: (input_dim, units) of every kind, by how much of them registers and shared memory hold.
CELLS = (1, 1), (3, 8), (15, 15), (16, 16), (64, 16), (40, 25), (128, 36), (32, 64), (64, 64), (7, 100), (128, 128)
DROPOUTS = (0, 0), (1, 1), (4, 4), (0, 4), (4, 0)  # masks of x and of h
RESIDENTS = (
    ("float32", (32, 64), ("tanh", "sigmoid"), True, (0, 0)),
    ("float32", (128, 36), ("tanh", "hard_sigmoid"), True, (4, 4)),
    ("float64", (16, 16), ("tanh", "sigmoid"), False, (0, 0)),
)


def sequence_of(dtype: str, names: tuple[str, str], mask: bool, dropout: bool, rows: int) -> Any:
    from numba_lstm.kernels import cuda
    from numba_lstm.kernels.codes import CODES

    functions = [cuda.activation_function(CODES[name], None) for name in names]
    return cuda.sequence_kernel(dtype, *functions, mask, dropout, rows)


def check(
    capability: tuple[int, int], dtype: str, names: tuple[str, str], mask: bool, dropout: bool, rows: int, folder: Path
) -> None:
    heavy = dropout or "softmax" in names
    result = cuda_compiler.compiled(sequence_of(dtype, names, mask, dropout, rows), capability, folder)
    ceiling = ALL_REGISTERS if heavy else CEILINGS[dtype][rows]
    assert result.complaints(dtype, ceiling) == []
    assert "fma.rn" in result.ptx and "div.rn" in result.ptx


@pytest.mark.parametrize(("dtype", "names", "mask", "dropout", "rows"), SAMPLE)
def test_a_kernel(dtype: str, names: tuple[str, str], mask: bool, dropout: bool, rows: int, tmp_path: Path) -> None:
    check((9, 0), dtype, names, mask, dropout, rows, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(("mask", "dropout"), [(False, False), (True, False), (False, True), (True, True)])
@pytest.mark.parametrize("names", NAMES, ids="-".join)
@pytest.mark.parametrize("dtype", CEILINGS)
@pytest.mark.parametrize("capability", CAPABILITIES, ids="sm_{0[0]}{0[1]}".format)
def test_every_kernel(
    capability: tuple[int, int], dtype: str, names: tuple[str, str], mask: bool, dropout: bool, tmp_path: Path
) -> None:
    most = policy.most_rows(PORTABLE, dtype, dropout, "softmax" in names)
    every = {rows_of_block(batch, 1, most) for batch in (1, 2, 4)}
    for rows in sorted(every):
        check(capability, dtype, names, mask, dropout, rows, tmp_path)


def check_resident(
    capability: tuple[int, int],
    dtype: str,
    shape: tuple[int, int],
    names: tuple[str, str],
    mask: bool,
    dropout: tuple[int, int],
    folder: Path,
    rows: int | None = None,
) -> None:
    """A kernel for (input_dim, units); rows of a thread: the most that are taken, if they are not given."""
    from numba_lstm.backends.cpu.packing import pack_cell
    from numba_lstm.kernels import cuda, cuda_resident
    from numba_lstm.kernels.codes import CODES

    input_dim, units = shape
    weights = (np.zeros((depth, 4 * units), dtype) for depth in shape)
    cell = pack_cell(
        *weights, None, activation="tanh", recurrent_activation="sigmoid", dialect="keras3", dtype=dtype
    ).cell
    functions = [cuda.activation_function(CODES[name], None) for name in names]
    rows = rows or policy.most_rows(RESIDENT, dtype, any(dropout), False)
    asked = policy.CellShape(units, input_dim, dtype, False)
    assert RESIDENT.supports(asked)
    layout = policy.layout_for(asked, cell.block_length, rows, *dropout)
    kernel = cuda_resident.sequence_kernel(dtype, *functions, mask, layout)
    result = cuda_compiler.compiled(kernel, capability, folder)
    assert result.complaints(dtype, ALL_REGISTERS) == [], (asked, names, mask, dropout, rows)
    assert re.findall(r"(\d+) bytes smem", result.report) == [str(layout.shared * np.dtype(dtype).itemsize)]
    assert "ld.shared.v" in result.ptx or units < 4
    assert result.ptx.count("bar.sync") == 2, "one before the first timestep, and one at each"
    assert "fma.rn" in result.ptx and "div.rn" in result.ptx


@pytest.mark.parametrize(("dtype", "shape", "names", "mask", "dropout"), RESIDENTS)
def test_a_resident_kernel(
    dtype: str, shape: tuple[int, int], names: tuple[str, str], mask: bool, dropout: tuple[int, int], tmp_path: Path
) -> None:
    check_resident((9, 0), dtype, shape, names, mask, dropout, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("shape", CELLS)
@pytest.mark.parametrize("dtype", CEILINGS)
def test_resident_kernels(dtype: str, shape: tuple[int, int], tmp_path: Path) -> None:
    """By turns for sm_80 and sm_90, and with the activations of NAMES."""
    input_dim, units = shape
    shape = input_dim, min(units, RESIDENT.largest_units[dtype])
    capabilities, names = cycle(CAPABILITIES), cycle(NAMES[:3])
    for mask, dropout in product((False, True), DROPOUTS):
        check_resident(next(capabilities), dtype, shape, next(names), mask, dropout, tmp_path)
    for mask, rows in product((False, True), (1, 2)):
        check_resident(next(capabilities), dtype, shape, next(names), mask, (0, 0), tmp_path, rows)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", CEILINGS)
def test_every_activation(dtype: str, tmp_path: Path) -> None:
    from numba_lstm.kernels.codes import CODES

    for name in CODES:
        result = cuda_compiler.compiled(sequence_of(dtype, (name, "sigmoid"), False, False, 2), (9, 0), tmp_path)
        assert result.complaints(dtype, ALL_REGISTERS) == [], name


@pytest.mark.slow
@pytest.mark.parametrize("dtype", CEILINGS)
def test_every_activation_of_residents(dtype: str, tmp_path: Path) -> None:
    from numba_lstm.kernels.codes import CODES
    from numba_lstm.kernels.normalizations import SOFTMAX

    for name, code in CODES.items():
        if code < SOFTMAX:
            check_resident((9, 0), dtype, (32, 64), (name, "sigmoid"), True, (0, 0), tmp_path)


def test_arguments_of_a_launch(tmp_path: Path) -> None:
    """A call as the backend makes it has the types that kernels are compiled for here, and as many numbers."""
    from numba import typeof
    from numba.cuda.dispatcher import _Kernel

    from numba_lstm.kernels.arguments import Cell, Masks, Options, State, Window
    from numba_lstm.kernels.cuda_arguments import CudaCall

    window, masks = Window(64, 1, 2, 3), Masks(64, 1, 5)
    cell, state = Cell(64, 64, 64, 3, 4, 8, 1, 2), State(64, 64, 64)
    call = CudaCall(0, 5, 2, cell, window, window, masks, masks, state, 64, 64, window, Options(True, False, False))
    (kind,) = cuda_compiler.signature().args
    assert typeof(call) == kind
    handed: list[Any] = []
    launching = SimpleNamespace(extensions=())
    launching._prepare_args = partial(_Kernel._prepare_args, launching)
    launching._prepare_args(kind, call, 0, [], handed)
    numbers = [number for part in call for number in (part if isinstance(part, tuple) else (part,))]
    assert [getattr(each, "value", each) for each in handed] == numbers
    ptx = cuda_compiler.compiled(sequence_of("float32", ("tanh", "sigmoid"), True, False, 1), (9, 0), tmp_path).ptx
    parameters = re.findall(r"(?m)^\s*\.param \.[bu](8|64) ", ptx[ptx.index(".entry") :])
    assert parameters == ["8" if isinstance(each, bool) else "64" for each in handed]


def test_kernels_that_copy(tmp_path: Path) -> None:
    from numba import types

    from numba_lstm.kernels import cuda_copies

    lengths = types.NamedUniTuple(types.int64, cuda_copies.AXES, cuda_copies.Lengths)
    array = types.NamedUniTuple(types.int64, cuda_copies.AXES + 1, cuda_copies.Strided)
    for kernel, arrays in (
        (cuda_copies.copy_kernel("int64", "float32"), 2),
        (cuda_copies.copy_kernel("float16", "float32"), 2),
        (cuda_copies.copy_kernel("float32", "bool"), 2),
        (cuda_copies.fill_kernel("float32", True), 2),
        (cuda_copies.merge_kernel("float32", "ave"), 3),
    ):
        signature = types.void(types.int64, lengths, *[array] * arrays)
        result = cuda_compiler.compiled(kernel, (9, 0), tmp_path, signature)
        assert result.complaints("float32", 64) == []


def test_contraction_is_noticed(tmp_path: Path) -> None:
    from numba import cuda, float32, types

    def kernel(x: Any) -> None:
        x[0] = x[1] * x[2] + x[3] / (x[4] * x[5])

    ptx, _ = cuda.compile_ptx(kernel, types.void(float32[::1]), cc=(9, 0))
    complaints = cuda_compiler.Compiled(ptx, cuda_compiler.assembled(ptx, tmp_path)).complaints("float32", 255)
    assert len(complaints) == 1 and "mul" in complaints[0], complaints


def test_contraction_by_the_linker_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Optimization across files contracts what PTX keeps apart, and is what numba asks for unless it is told not to."""
    kernel = sequence_of("float32", ("tanh", "hard_sigmoid"), False, False, 1)
    assert cuda_compiler.compiled(kernel, (9, 0), tmp_path).complaints("float32", ALL_REGISTERS) == []
    monkeypatch.setitem(kernel.targetoptions, "lto", True)
    with pytest.raises(AssertionError):
        cuda_compiler.compiled(kernel, (9, 0), tmp_path)
    complaints = cuda_compiler.built(kernel, (9, 0), tmp_path).complaints("float32", ALL_REGISTERS)
    assert complaints and all("contracted" in each for each in complaints), complaints
