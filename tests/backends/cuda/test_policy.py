"""backends/cuda/policy.py: tiers, layouts and grids, as functions of shapes."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from numba_lstm.backends.cuda import policy, selection
from numba_lstm.errors import ConfigError

OneLine = Callable[[pytest.ExceptionInfo[BaseException]], str]
GPU = policy.DeviceProperties(multiprocessors=132, warp_size=32)


def shape(units: int, input_dim: int = 3, dtype: str = "float32", normalizes_row: bool = False) -> policy.CellShape:
    return policy.CellShape(units, input_dim, dtype, normalizes_row)


def test_the_first_tier_that_takes_a_cell_is_chosen() -> None:
    found = {
        cell: policy.tier_for(cell).name
        for cell in (
            shape(1),
            shape(128, 128),
            shape(64, 128, "float64"),
            shape(129),
            shape(65, dtype="float64"),
            shape(64, 129),
            shape(1, 5),
            shape(4, normalizes_row=True),
        )
    }
    assert list(found.values()) == ["resident"] * 3 + ["portable"] * 5


def test_the_tier_can_be_forced(one_line: OneLine) -> None:
    assert policy.tier_for(shape(8), "portable").name == "portable"
    assert policy.tier_for(shape(8), "resident").name == "resident"
    with pytest.raises(ConfigError) as info:
        policy.tier_for(shape(8, 3), "fast")
    expected = "NUMBA_LSTM_CUDA_TIER is 'fast'; expected one of resident, portable for a float32 cell of 8 units and 3 "
    assert one_line(info) == expected + "inputs"
    with pytest.raises(ConfigError) as info:
        policy.tier_for(shape(8, normalizes_row=True), "resident")
    expected = (
        "NUMBA_LSTM_CUDA_TIER is 'resident'; expected one of portable for a float32 cell of 8 units and 3 inputs "
    )
    assert one_line(info) == expected + "with an activation over all units"


def test_the_environment_forces_a_tier(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(policy.TIER_VARIABLE, raising=False)
    assert selection.forced_tier() is None
    monkeypatch.setenv("NUMBA_LSTM_CUDA_TIER", "portable")
    assert selection.forced_tier() == "portable"


def test_rows_of_a_block() -> None:
    """As many as leave a block for each multiprocessor, and registers for the sums."""
    assert [policy.rows_of_block(rows, 132, 4) for rows in (1, 132, 263, 264, 528, 10**6)] == [1, 1, 2, 2, 4, 4]
    assert policy.rows_of_block(10**6, 132, 2) == 2
    resident, portable = policy.TIERS
    assert [policy.most_rows(resident, *options) for options in product(("float32", "float64"), (0, 1), (0,))] == [
        4, 2, 2, 1
    ]  # fmt: skip
    assert [policy.most_rows(portable, "float64", *heavy) for heavy in product((0, 1), (0, 1))] == [4, 2, 2, 2]


@given(
    st.sampled_from([("float32", 4), ("float64", 8)]),
    st.integers(1, 128),
    st.integers(1, 128),
    st.sampled_from([1, 2, 4]),
    st.sampled_from(list(product((0, 1, 4), (0, 1, 4)))),
)
def test_layouts_fit(number: tuple[str, int], units: int, input_dim: int, rows: int, masks: tuple[int, int]) -> None:
    """They fit into a block's shared memory; each k of x and h is in one place, and loads are aligned."""
    dtype, size = number
    cell = shape(units, input_dim, dtype)
    if not policy.TIERS[0].supports(cell):
        cell = shape(min(units, 64), min(input_dim, 4 * min(units, 64)), dtype)
    found = policy.layout_for(cell, 8 if cell.units <= 16 else 128, rows, *masks)
    assert found.shared * size <= 48 << 10
    assert found.groups * cell.units <= 128 and 1 <= found.rows <= rows
    in_registers = found.x.in_registers + found.h.in_registers
    assert in_registers * 4 * size <= 4 * 128
    for operand in (found.x, found.h):
        assert operand.in_registers + operand.in_shared <= operand.depth
        assert operand.in_shared % 4 == 0 or operand.in_registers + operand.in_shared == operand.depth
        assert found.group_size(operand) % 4 == 0 and operand.width % 4 == 0
    if found.h.in_registers + found.h.in_shared < cell.units:
        assert found.x.in_registers == 0, "h's weights come first"


@pytest.mark.parametrize(
    ("units", "batch", "rows", "blocks", "threads"),
    [(200, 1, 1, 1, 128), (200, 132, 1, 132, 128), (200, 528, 4, 132, 128), (200, 531, 4, 133, 128)],
)
def test_plans_of_the_portable_tier(units: int, batch: int, rows: int, blocks: int, threads: int) -> None:
    plan = policy.plan_for(shape(units), 128, batch, (0, 0), GPU)
    assert plan[1:] == (rows, None, blocks, threads) and plan.tier.name == "portable"


def test_plans_of_the_portable_tier_have_whole_warps() -> None:
    found = [policy.plan_for(shape(units), 8, 7, (0, 0), GPU, "portable").threads for units in (1, 32, 33, 97, 128)]
    assert found == [32, 32, 64, 128, 128]


@pytest.mark.parametrize("batch", [1, 131, 132, 528, 529, 4096, 10**6])
@pytest.mark.parametrize("units", [1, 16, 25, 64, 128])
def test_plans_of_residents_reach_every_row(units: int, batch: int) -> None:
    """Blocks have whole groups, each at least one row, and several groups only if each multiprocessor has a block."""
    plan = policy.plan_for(shape(units), 8 if units <= 16 else 128, batch, (0, 0), GPU)
    assert plan.tier.name == "resident" and plan.layout is not None
    groups, rest = divmod(plan.threads, units)
    rows = plan.rows * groups
    assert rest == 0 and 1 <= groups <= plan.layout.groups and plan.rows == plan.layout.rows
    assert plan.blocks * rows >= batch > (plan.blocks - 1) * rows
    assert groups == 1 or batch >= 132 * rows


def test_plans_with_a_number_of_rows() -> None:
    assert policy.plan_for(shape(200), 128, 10**6, (0, 0), GPU, rows=8)[1:4] == (8, None, 125_000)
    layout = policy.plan_for(shape(32), 128, 1, (0, 0), GPU, rows=2).layout
    assert layout == policy.layout_for(shape(32), 128, 2, 0, 0)


def test_dropout_takes_rows_from_a_thread() -> None:
    plans = [policy.plan_for(shape(200), 128, 10**6, masks, GPU) for masks in ((0, 0), (1, 0), (0, 4))]
    assert [plan.rows for plan in plans] == [4, 2, 2]


def test_grids_of_kernels_that_copy() -> None:
    assert policy.copy_grid(1, 32) == policy.copy_grid(256, 32) == (1, 256)
    assert policy.copy_grid(257, 32) == (2, 256) and policy.copy_grid(10**9, 32) == (4096, 256)


def test_buffers_that_are_pooled() -> None:
    assert [policy.is_pooled(size) for size in (1, 256 << 20, (256 << 20) + 1)] == [True, True, False]
