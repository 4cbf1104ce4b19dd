"""The memory layout of resident cells: offsets in shared memory."""

from __future__ import annotations

import pytest

from numba_lstm.backends.cuda import policy
from numba_lstm.kernels.cuda_layout import LOAD_WIDTH, Offsets, SharedOperand


@pytest.mark.parametrize(("input_dim", "units"), [(64, 32), (1, 1), (128, 128)])
def test_offsets_leave_no_gaps_and_overlap_nowhere(input_dim: int, units: int) -> None:
    cell = policy.CellShape(units, input_dim, "float32", normalizes_row=False)
    layout = policy.layout_for(cell, 128, 4, 0, 0)
    found = Offsets.of(layout)
    assert found.h_weights == 0 and found.x_weights == 4 * units * layout.h.in_shared
    assert found.h == found.x_weights + 4 * units * layout.x.in_shared
    assert found.x == found.h + 2 * found.h_timestep and found.end == found.x + 2 * found.x_timestep == layout.shared
    assert found.h_timestep == layout.groups * found.h_group and found.x_timestep == layout.groups * found.x_group
    assert found.h_group >= layout.rows * units and found.x_group >= layout.rows * input_dim


@pytest.mark.parametrize(("masks", "copies"), [(0, 1), (1, 1), (4, 4)])
def test_rows_are_padded_to_whole_loads(masks: int, copies: int) -> None:
    for depth in (1, 4, 5, 128):
        operand = SharedOperand.of(depth, masks)
        assert (operand.depth, operand.masks, operand.copies) == (depth, masks, copies)
        assert operand.width % LOAD_WIDTH == 0 and depth <= operand.width < depth + LOAD_WIDTH
        assert operand.in_registers == operand.in_shared == 0
