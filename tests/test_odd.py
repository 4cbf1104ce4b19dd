"""Odd inputs - NaN, infinities, strange shapes, dtypes, states and masks - and what TensorFlow 2.15 did with them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from support.goldens import Goldens

import numba_lstm as nl
from numba_lstm.errors import ShapeError

pytestmark = pytest.mark.goldens

Array = NDArray[Any]

# Keras fails on these; here they are cast, as the documentation says: whole numbers, booleans, lists, another dtype.
CAST_HERE = {
    "numpy array given to a float32 layer",
    "tf tensor given to a float32 layer",
    "nested python list",
    "initial_state float64 to a float32 layer",
}


def variant(x: Array, note: str) -> Any:
    """The same numbers in another guise."""
    guises: dict[str, Callable[[], Any]] = {
        "nested python list": x.tolist,
        "Fortran order": lambda: np.asfortranarray(x),
        "big-endian numpy": lambda: x.astype(">f4"),
        "strided view": lambda: np.repeat(x, 2, axis=1)[:, ::2],
        "negative strides": lambda: x[:, ::-1].copy()[:, ::-1],
    }
    return guises.get(note, lambda: x)()


def arguments(note: str, batch: int, timesteps: int, units: int) -> dict[str, Any]:
    """The states and masks of the cases that are about them."""
    z = np.zeros((batch, units), np.float32)
    steps = np.ones((batch, timesteps), np.float32)
    last = np.arange(timesteps) == timesteps - 1
    nan_row = np.where(np.arange(batch)[:, None] == 1, np.nan, z)
    given: dict[str, dict[str, Any]] = {
        "initial_state with one state only": {"initial_state": [z]},
        "initial_state with three states": {"initial_state": [z, z, z]},
        "initial_state wrong width": {"initial_state": [np.zeros((batch, units + 1))] * 2},
        "initial_state wrong batch": {"initial_state": [np.zeros((batch + 1, units))] * 2},
        "initial_state batch 1 (broadcast?)": {"initial_state": [np.ones((1, units))] * 2},
        "mask of wrong length": {"mask": np.ones((batch, timesteps + 1), bool)},
        "mask of rank 1": {"mask": np.ones(timesteps, bool)},
        "mask of shape (B,T,1)": {"mask": np.ones((batch, timesteps, 1), bool)},
        "float mask (1.0/0.0, last step 0)": {"mask": np.where(last, 0, steps)},
        "float mask with 0.5 in the last step": {"mask": np.where(last, 0.5, steps)},
        "initial_state NaN in one row": {"initial_state": [nan_row, z]},
        "initial_state float64 to a float32 layer": {"initial_state": [z.astype(float) + 0.5] * 2},
    }
    return given.get(note, {})


def run(case: dict[str, Any], inputs: dict[str, Array]) -> list[Array]:
    layer = case["layer"]
    names = ("units", "activation", "recurrent_activation", "implementation", "dtype")
    cell = nl.LSTMCell(dialect="keras2", **{key: layer[key] for key in names if key in layer})
    cell.set_weights([inputs[key] for key in ("kernel", "recurrent_kernel", "bias")])
    rnn = nl.RNN(
        cell,
        return_sequences=True,
        return_state=True,
        unroll=layer.get("unroll", False),
        dialect="keras2",
        dtype=layer["dtype"],
    )
    x = inputs[case["name"]]
    if "float32 layer" not in case["note"] or "initial_state" in case["note"]:
        x = x.astype(layer["dtype"])
    batch, timesteps = inputs["x"].shape[:2]
    outputs: list[Array] = rnn(variant(x, case["note"]), **arguments(case["note"], batch, timesteps, cell.units))
    return outputs


def test_odd_inputs(goldens: Goldens, one_line: Callable[[pytest.ExceptionInfo[BaseException]], str]) -> None:
    inputs, stored = goldens.arrays("odd_inputs.npz"), goldens.arrays("odd__tf215.npz")
    done = 0
    for case in goldens.json("odd__tf215.json")["cases"]:
        label = f"{case['id']} {case['name']} {case['note']}"
        if case["result"] == "error":
            if case["note"] in CAST_HERE:
                assert all(np.isfinite(array).all() for array in run(case, inputs)), label
            else:
                with pytest.raises(ShapeError) as raised:
                    run(case, inputs)
                assert "expected" in one_line(raised), label
        else:
            for name, value in zip(("y", "h", "c"), run(case, inputs), strict=True):
                keras = stored[f"{case['id']}/{name}"]
                assert value.shape == keras.shape and value.dtype == keras.dtype, label
                np.testing.assert_allclose(value, keras, rtol=2e-6, atol=5e-7, err_msg=f"{label} {name}")
        done += 1
    assert done == 110
