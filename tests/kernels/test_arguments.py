"""The record of a kernel call: what the driver writes is what the kernel reads, number by number and array by array."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numba
import numpy as np
import pytest

from numba_lstm.kernels import arguments, plain
from numba_lstm.kernels.arguments import (
    ActivationCall,
    Call,
    DenseCall,
    StandardizeCall,
    StepPlan,
    StepStage,
    SumsCall,
    fields_of,
    pack_record,
)
from numba_lstm.kernels.simd import opened

# Different ones, so that each array tells of which dtype it was opened.
DTYPES = np.float64(0), np.uint32(0), np.uint16(0)
RECORDS: list[Any] = [Call, SumsCall, DenseCall, ActivationCall, StandardizeCall, StepPlan, StepStage]


def places(record: Any, path: str = "call", inherited: Any = None) -> Iterator[tuple[str, Any, Any]]:
    """The way to each number of a record, its kind, and of an array the dtype."""
    for name, (kind, content) in zip(record._fields, fields_of(record, inherited), strict=True):
        if hasattr(kind, "_fields"):
            yield from places(kind, f"{path}.{name}", content)
        else:
            dtype = None
            if content is not None:
                dtype = np.dtype(content if isinstance(content, str) else type(DTYPES[content]))
            yield f"{path}.{name}", kind, dtype


@pytest.mark.parametrize("record", RECORDS, ids=lambda record: record.__name__)
@pytest.mark.parametrize("compiled", [True, False], ids=["compiled", "interpreted"])
def test_a_kernel_reads_what_the_driver_wrote(record: Any, compiled: bool) -> None:
    found = list(places(record))
    memory, numbers = np.zeros(len(found)), np.zeros(len(found), np.int64)
    for i, (_, _, dtype) in enumerate(found):
        numbers[i] = -(2**40) - i
        if dtype is not None:  # each array is one number, and that number tells which array it is
            memory[i : i + 1].view(dtype)[0] = 3 + i
            numbers[i] = memory[i:].ctypes.data
    expected = [1 if kind is bool else 3 + i if dtype else -(2**40) - i for i, (_, kind, dtype) in enumerate(found)]
    body = "".join(f" out[{i}] = {path}{'[0]' if dtype else ''}\n" for i, (path, _, dtype) in enumerate(found))
    scope = {"opened": opened if compiled else plain.opened, "DTYPES": DTYPES, "record": record}
    exec(f"def read(address, out):\n call = opened(address, DTYPES, record)\n{body}", scope)
    out = np.zeros(len(found), np.int64)
    (numba.njit(scope["read"]) if compiled else scope["read"])(numbers.ctypes.data, out)
    assert out.tolist() == expected


def test_every_array_is_described() -> None:
    for record in vars(arguments).values():
        if getattr(record, "__module__", "") == arguments.__name__ and record in RECORDS:
            for path, kind, dtype in places(record):
                assert kind in (int, bool) or dtype is not None, f"{record.__name__}: {path}"


def test_a_record_is_its_numbers_in_order() -> None:
    def numbered(record: Any, numbers: Iterator[int]) -> Any:
        kinds = [kind for kind, _ in fields_of(record)]
        return record(*(numbered(kind, numbers) if hasattr(kind, "_fields") else next(numbers) for kind in kinds))

    size = len(list(places(Call)))
    assert pack_record(numbered(Call, iter(range(size)))).tolist() == list(range(size))
