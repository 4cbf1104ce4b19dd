"""Records read: each address becomes memory at it, of the dtype that lies there."""

from __future__ import annotations

from itertools import count
from typing import Any, get_type_hints

import numpy as np
import pytest
from support.plain_kernels import plain

from numba_lstm.kernels import arguments
from numba_lstm.kernels.arguments import Call, record_of

LIKE, KEPT, TAKEN = np.float32(0), np.uint32(0), np.uint16(0)
BYTES = np.dtype(np.uint8)
OTHERS = {  # where the memory has another dtype than that of the cell
    "cell.kernel": KEPT.dtype,
    "cell.recurrent_kernel": KEPT.dtype,
    "mask.memory": BYTES,
    "scratch.x": TAKEN.dtype,
    "scratch.h": TAKEN.dtype,
    "scratch.skip": BYTES,
    "rounded": TAKEN.dtype,
    **{name: np.dtype(np.float64) for name in ("epsilon", "gamma", "beta")},
}


def numbered(kind: Any, numbers: Any) -> Any:
    hints = get_type_hints(kind)
    return kind(
        *(numbered(hints[name], numbers) if hasattr(hints[name], "_fields") else next(numbers) for name in kind._fields)
    )


def leaves(value: Any, name: str = "") -> Any:
    """Each number or memory in a tuple of tuples, with the name of its place."""
    for field, part in zip(value._fields, value, strict=True):
        place = f"{name}.{field}".lstrip(".")
        yield from leaves(part, place) if hasattr(part, "_fields") else [(place, part)]


@pytest.mark.parametrize(
    ("kind", "opened", "likes"),
    [
        ("Call", "open_call", (LIKE, KEPT, TAKEN)),
        ("SumsCall", "open_sums_call", (LIKE, KEPT, TAKEN)),
        ("DenseCall", "open_dense_call", LIKE),
        ("ActivationCall", "open_activation_call", LIKE),
        ("StandardizeCall", "open_standardize_call", LIKE),
    ],
)
def test_addresses_become_memory(kind: str, opened: str, likes: Any) -> None:
    made = numbered(getattr(arguments, kind), count(1000))
    plain_numbers = {"Call": 3, "SumsCall": 5}.get(kind, len(made))
    record = record_of(made, plain_numbers)
    found = getattr(plain("opening"), opened)(record.buffer_info()[0], likes)
    memories = 0
    for (place, number), (_, value) in zip(leaves(made), leaves(found), strict=True):
        if hasattr(value, "address"):
            memories += 1
            assert (value.address, value.dtype) == (number, OTHERS.get(place, LIKE.dtype)), place
        else:
            assert value == (bool(number) if isinstance(value, bool) else number), place
    assert memories == {"Call": 19, "SumsCall": 7, "DenseCall": 6, "ActivationCall": 3, "StandardizeCall": 5}[kind]


def test_a_team_is_opened_by_its_threads() -> None:
    """Not with the call: a kernel for one thread has none."""
    call = numbered(Call, count(1000))
    team = plain("team").open_team(call.team, LIKE)
    assert (team.progress.address, team.progress.dtype) == (call.team.progress, np.int64)
    assert (team.h_next.address, team.h_next.dtype) == (call.team.h_next, LIKE.dtype)
    assert team[1:4] == call.team[1:4]
