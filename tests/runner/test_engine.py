"""A model made ready for runs: what is checked before any file is read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from support.running import INPUT_DIM, a_model, last_output_model

from numba_lstm import LSTM, Dense, Flatten, Sequential, get_num_threads
from numba_lstm.errors import ConfigError, DeviceError
from numba_lstm.layers import Masking
from numba_lstm.runner.engine import Engine
from numba_lstm.runner.options import RunOptions

OneLine = Callable[[pytest.ExceptionInfo[BaseException]], str]


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"device": "tpu"}, DeviceError, "device is 'tpu'; expected 'auto', 'cpu' or 'cuda'"),
        (
            {"precision": "tf32"},
            DeviceError,
            "precision is 'tf32', which needs CUDA kernels, and this version has none",
        ),
        (
            {"threads": 5000},
            ConfigError,
            "the number of threads is 5000; expected a number of threads from 1 to 1024",
        ),
        (
            {"carry_state": True, "batch_rows": 2},
            ConfigError,
            "carry_state is set, and no layer of sequential is stateful; leave it out",
        ),
    ],
)
def test_options(options: dict[str, Any], kind: type[Exception], message: str, one_line: OneLine) -> None:
    threads = get_num_threads()
    with pytest.raises(kind) as info:
        Engine(last_output_model(), RunOptions(**options))
    assert message in one_line(info)
    assert get_num_threads() == threads


def test_a_model_without_weights(one_line: OneLine) -> None:
    with pytest.raises(ConfigError) as info:
        Engine(Sequential([LSTM(3)]), RunOptions())
    assert one_line(info) == "sequential has no weights yet; expected a built model; call its build(...)"


def test_the_seed_is_the_one_that_is_given_or_a_new_one() -> None:
    assert Engine(a_model(), RunOptions()).seed is None
    assert Engine(a_model(), RunOptions(training=True, seed=7)).seed == 7
    drawn = {Engine(a_model(), RunOptions(mc_samples=2)).seed for _ in range(3)}
    assert None not in drawn and len(drawn) == 3


@pytest.mark.parametrize(
    ("layers", "ending"),
    [
        ([LSTM(3, return_sequences=True), Flatten(), Dense(2)], None),  # a layer that uses it comes first
        ([Flatten(), Dense(2)], "Flatten"),
        ([Masking(), LSTM(3)], "Masking"),
    ],
)
def test_a_mask_that_ends_is_noted(layers: list[Any], ending: str | None) -> None:
    model = Sequential(layers)
    model.build((None, 4, INPUT_DIM))
    notes = Engine(model, RunOptions(mask="mask.npy")).notes()
    assert len(notes) == (ending is not None)
    assert all(f"({ending}), as in Keras" in note for note in notes)
    assert Engine(model, RunOptions()).notes() == []


def test_training_without_dropout_is_noted() -> None:
    options = RunOptions(training=True, seed=1)
    assert Engine(last_output_model(), options).notes() == ["no layer has dropout, so training changes nothing"]
    assert Engine(a_model(), options).notes() == []
