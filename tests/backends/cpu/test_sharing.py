"""The policy's choices, for the threads that there are."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from numba_lstm.backends.cpu import policy, sharing, threads
from numba_lstm.backends.cpu.packing import pack_cell


@pytest.fixture(params=[1, 2])
def number(request: pytest.FixtureRequest) -> Iterator[int]:
    before = threads.get_num_threads()
    threads.set_num_threads(request.param)
    yield request.param
    threads.set_num_threads(before)


def test_rows_are_shared_if_there_is_work_for_all(number: int) -> None:
    assert sharing.row_ranges(10, 2 * policy.WORK_PER_THREAD - 1) == [(0, 10)]
    ranges = sharing.row_ranges(1000, 100 * policy.WORK_PER_THREAD)
    assert (len(ranges) > 1) == (number > 1)
    assert [row for first, last in ranges for row in range(first, last)] == list(range(1000))


def test_units_are_shared_by_two(number: int) -> None:
    for activation, units, shared in (("tanh", 96, True), ("softmax", 96, False), ("tanh", 95, False)):
        weights = [np.zeros((width, 4 * units)) for width in (3, units)]
        options = {"activation": activation, "recurrent_activation": "sigmoid", "dialect": "keras3", "dtype": "float32"}
        cell = pack_cell(*weights, None, **options)  # type: ignore[arg-type]
        assert sharing.shares_units(cell, 1, policy.WORK_OF_TWO) == (shared and number > 1)
        assert not sharing.shares_units(cell, 1, policy.WORK_OF_TWO - 1)
