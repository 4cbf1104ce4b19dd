"""The record of a kernel call: what the driver writes is what the kernel reads, number by number."""

from __future__ import annotations

from itertools import count
from typing import Any, get_type_hints

import numba
import numpy as np
import pytest

from numba_lstm.kernels.arguments import Call, record_of
from numba_lstm.kernels.jit import njit_helper
from numba_lstm.kernels.opening import read_call
from numba_lstm.kernels.simd import memory_at


@njit_helper
def put(numbers: Any, at: int, part: Any) -> int:
    """The numbers of a tuple, one after the other; where the next one stands."""
    for number in part:
        numbers[at] = number
        at += 1
    return at


@numba.njit
def flat(address: int, numbers: Any) -> None:
    """The numbers of a call one after the other."""
    call = read_call(memory_at(address, np.int64(0)))
    numbers[0], numbers[1], numbers[2] = call.first_row, call.last_row, call.timesteps
    at = put(numbers, 3, call.cell)
    at = put(numbers, at, call.inputs)
    at = put(numbers, at, call.sums)
    at = put(numbers, at, call.mask)
    at = put(numbers, at, call.dropout)
    at = put(numbers, at, call.recurrent_dropout)
    at = put(numbers, at, call.state)
    at = put(numbers, at, call.outputs)
    options, team = call.options, call.team
    flags = int(options.return_sequences), int(options.masked), int(options.zero_output_for_mask)
    at = put(numbers, at, (*flags, options.order))
    at = put(numbers, at, call.scratch)
    at = put(numbers, at, (team.progress, int(team.leads), team.patience, team.middle, team.h_next))


def flags(kind: Any) -> list[bool]:
    """Of each number of a tuple of arguments.py whether it is true or false only."""
    return [flag for part in _parts(kind) for flag in (flags(part) if hasattr(part, "_fields") else [part is bool])]


def numbered(kind: Any, numbers: Any) -> Any:
    """A tuple of arguments.py with a number of its own in each place."""
    return kind(*(numbered(part, numbers) if hasattr(part, "_fields") else next(numbers) for part in _parts(kind)))


def _parts(kind: Any) -> list[Any]:
    return [get_type_hints(kind)[name] for name in kind._fields]


@pytest.mark.parametrize("start", [0, -(2**40)])
def test_a_kernel_reads_what_the_driver_wrote(start: int) -> None:
    record = record_of(numbered(Call, count(start)))
    found = np.zeros(len(record), np.int64)
    flat(record.buffer_info()[0], found)
    expected = np.where(flags(Call), 1, np.arange(start, start + len(record)))
    np.testing.assert_array_equal(found, expected)
