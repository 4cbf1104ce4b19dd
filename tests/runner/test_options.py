"""The options of a run: what makes no sense is an error of one line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from numba_lstm.errors import ConfigError
from numba_lstm.runner.options import RunOptions

OneLine = Callable[[pytest.ExceptionInfo[BaseException]], str]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_rows": 0}, "batch_rows is 0; expected an integer from 1 to 4611686018427387904"),
        ({"window": 2.5}, "window is 2.5; expected an integer from 1 to 4611686018427387904"),
        ({"mc_samples": 1}, "mc_samples is 1; expected an integer from 2 to 2147483648"),
        ({"on_nan": "drop"}, "on_nan is 'drop'; expected one of 'keep', 'error'"),
        ({"rows": (4, 4)}, "rows is 4:4; expected the first row and one past the last, as 0:100"),
        ({"rows": (-1, 4)}, "rows is -1; expected an integer from 0 to 4611686018427387904"),
        ({"mask": "m.npy", "lengths": "l.npy"}, "mask and lengths exclude each other; give one of them"),
        ({"window": 3, "lengths": "l.npy"}, "window and lengths exclude each other; give one of them"),
        ({"window": 3, "time_major": True}, "window and time_major exclude each other; give one of them"),
        ({"mc_samples": 3, "final_state": "s.npy"}, "mc_samples and final_state exclude each other; give one of them"),
        ({"stride": 2}, "stride needs window: it is the distance from one window to the next"),
        ({"seed": 2}, "seed needs training or mc_samples: without them nothing is drawn"),
        ({"carry_state": True, "mc_samples": 2}, "carry_state and mc_samples exclude each other; give one of them"),
        (
            {"carry_state": True, "initial_state": "s.npy", "batch_rows": 2},
            "carry_state and initial_state exclude each other; give one of them",
        ),
        (
            {"carry_state": True},
            "carry_state needs batch_rows: how many rows a batch has, from which the next goes on",
        ),
    ],
)
def test_what_makes_no_sense(options: dict[str, Any], message: str, one_line: OneLine) -> None:
    with pytest.raises(ConfigError) as info:
        RunOptions(**options)
    assert one_line(info) == message


def test_what_is_just_allowed() -> None:
    options = RunOptions(rows=(4, 5), batch_rows=1, threads=1, mc_samples=2, seed=0, window=1, stride=3)
    assert options.rows == (4, 5) and options.draws_masks
    assert RunOptions(rows=(7, None), training=True, seed=1).draws_masks
    assert not RunOptions(stride=1).draws_masks
