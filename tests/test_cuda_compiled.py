"""The CUDA kernels compiled for sm_80 and sm_90, without a GPU: registers, IEEE arithmetic, nothing contracted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cuda_compiler
import pytest

from numba_lstm.devices.choice import rows_of_block

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


@pytest.fixture(autouse=True)
def a_device(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """What numba asks the GPU when it compiles functions for one."""
    from numba.cuda import dispatcher

    device = SimpleNamespace(compute_capability=(9, 0))
    monkeypatch.setattr(dispatcher, "get_current_device", lambda: device)
    yield device


def sequence_of(dtype: str, names: tuple[str, str], mask: bool, dropout: bool, rows: int) -> Any:
    from numba_lstm.kernels import cuda
    from numba_lstm.kernels.apply import CODES

    functions = [cuda.function_of(CODES[name], None) for name in names]
    return cuda.sequence_for(dtype, *functions, mask, dropout, rows)


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
    heavy = dropout or "softmax" in names
    every = {rows_of_block(batch, 1, heavy) for batch in (1, 2, 4)}
    for rows in sorted(every):
        check(capability, dtype, names, mask, dropout, rows, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", CEILINGS)
def test_every_activation(dtype: str, tmp_path: Path) -> None:
    from numba_lstm.kernels.apply import CODES

    for name in CODES:
        result = cuda_compiler.compiled(sequence_of(dtype, (name, "sigmoid"), False, False, 2), (9, 0), tmp_path)
        assert result.complaints(dtype, ALL_REGISTERS) == [], name


def test_kernels_that_move_numbers(tmp_path: Path) -> None:
    from numba import types

    from numba_lstm.kernels import cuda_moving

    lengths = types.NamedUniTuple(types.int64, cuda_moving.AXES, cuda_moving.Lengths)
    array = types.NamedUniTuple(types.int64, cuda_moving.AXES + 1, cuda_moving.Strided)
    for kernel, arrays in (
        (cuda_moving.copy_for("int64", "float32"), 2),
        (cuda_moving.copy_for("float16", "float32"), 2),
        (cuda_moving.copy_for("float32", "bool"), 2),
        (cuda_moving.clear_for("float32", True), 2),
        (cuda_moving.merge_for("float32", "ave"), 3),
    ):
        signature = types.void(types.int64, lengths, *[array] * arrays)
        result = cuda_compiler.compiled(kernel, (9, 0), tmp_path, signature)
        assert result.complaints("float32", 64) == []


def test_contraction_is_noticed(tmp_path: Path) -> None:
    from numba import cuda, float32, types

    def kernel(x: Any) -> None:
        x[0] = x[1] * x[2] + x[3] / (x[4] * x[5])

    ptx, _ = cuda.compile_ptx(kernel, types.void(float32[::1]), cc=(9, 0))
    complaints = cuda_compiler.assembled(ptx, (9, 0), tmp_path).complaints("float32", 255)
    assert len(complaints) == 1 and "mul" in complaints[0], complaints
