"""The parts of the kernels for small cells; whole sequences are in test_cuda.py and test_cuda_compiled.py."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from numba_lstm.kernels import cuda_resident
from numba_lstm.kernels.arguments import Masks
from numba_lstm.kernels.cuda_layout import Layout, Offsets, SharedOperand

UNITS, ROWS, GROUPS = 3, 2, 2


@pytest.mark.parametrize("masks", [0, 4])
def test_rows_of_groups_and_timesteps_do_not_overlap(masks: int) -> None:
    """Those of one timestep are written while those of the one before are read."""
    layout = Layout.of(UNITS, 8, ROWS, GROUPS, SharedOperand.of(5, masks), SharedOperand.of(UNITS, masks))
    offsets, used = Offsets.of(layout), list[int]()
    for group in range(GROUPS):
        for t in (6, 7):
            rows = cuda_resident.rows_at.py_func(None, offsets, group, t)
            assert rows == cuda_resident.rows_at.py_func(None, offsets, group, t + 2)
            for start, operand in ((rows.x, layout.x), (rows.h, layout.h)):
                used += range(int(start), int(start) + operand.copies * layout.rows * operand.width)
    assert len(set(used)) == len(used) and min(used) == 0 and max(used) < layout.shared


def test_whether_a_step_counts_in_any_row() -> None:
    any_counts = cuda_resident.any_counts.py_func
    assert any_counts(None, np.zeros(2, np.uint8), 2)
    assert not any_counts(True, np.array([0, 0, 1], np.uint8), 2)
    assert any_counts(True, np.array([0, 1], np.uint8), 2)


def test_numbers_of_dropout_masks() -> None:
    factors: Any = np.arange(4 * 5 * 3, dtype=np.float32).reshape(4, 5, 3)
    masks = Masks(factors.reshape(-1), 4, 5)
    assert cuda_resident.dropout_factor.py_func(masks, 2, 4, 3, 1) == factors[2, 4, 1]
