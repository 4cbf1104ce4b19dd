"""Models and sessions against the oracle: options drawn call by call, for the same model again and again."""

from __future__ import annotations

from typing import Any

import naive
import numpy as np
import pytest
from support import cases
from support.cases import one_of
from support.guarded import memory
from support.shrunk import shrunk

import numba_lstm as nl

TOLERANCE = {"float32": 2e-5, "float64": 1e-13}


def model_of(rng: np.random.Generator, training: bool, dtypes: tuple[str, ...] = ("float32", "float64")) -> Any:
    """One to three LSTM layers, with weights that are no initializer's, and perhaps a Dense at the end."""
    common: dict[str, Any] = {"dialect": one_of(rng, "tf1", "keras2", "keras3")}
    common["dtype"] = one_of(rng, *dtypes)
    depth = int(rng.integers(1, 4))
    layers: list[Any] = []
    for number in range(depth):
        rates = [one_of(rng, 0.0, 0.25, 0.6) for _ in "xh"] if training else [0.0, 0.0]
        layer = nl.LSTM(
            one_of(rng, 1, 5, 16, 17, 40),
            recurrent_activation="sigmoid" if common["dialect"] == "keras3" else one_of(rng, "sigmoid", "hard_sigmoid"),
            use_bias=one_of(rng, True, True, False),
            dropout=rates[0],
            recurrent_dropout=rates[1],
            implementation=2 if common["dialect"] == "keras3" else one_of(rng, 1, 2),
            return_sequences=number < depth - 1 or one_of(rng, True, False),
            go_backwards=training and one_of(rng, True, False),
            seed=int(rng.integers(2**63)),
            **common,
        )
        layers.append(layer)
    if common["dtype"] == "float32" and one_of(rng, True, False):
        layers.append(nl.Dense(3, **common))
    model = nl.Sequential(layers)
    model.build((None, None, one_of(rng, 1, 3, 20)))
    shapes = [weight.shape for weight in model.get_weights()]
    model.set_weights([rng.normal(size=shape) / np.sqrt(len(shape) * shape[0]) for shape in shapes])
    return model


def truth(
    model: nl.Sequential, x: Any, mask: Any, states: Any, *, rows: Any = None, draw: int = 0
) -> tuple[Any, list[Any]]:
    """The outputs and all states of the model in training for these rows, or not in training without."""
    ends: list[Any] = []
    for layer in model.layers:
        if isinstance(layer, nl.Dense):
            x = naive.dense(x, *layer.get_weights())
            continue
        assert isinstance(layer, nl.LSTM)
        cell, masks = layer.cells[0], []
        rates = (cell.dropout, x.shape[2]), (cell.recurrent_dropout, cell.units)
        for recurrent, (rate, width) in enumerate(rates):
            place = cell.seed, draw, cell.layer_number, recurrent, 1 if cell.implementation == 2 else 4, cell.dtype
            dropped = rows is not None and rate > 0
            masks.append(naive.dropout_mask(rate, rows, width, *place) if dropped else None)
        h, c = (None, None) if states is None else states[len(ends) : len(ends) + 2]
        x, *both = naive.sequence(
            x,
            layer.get_weights(),
            h,
            c,
            step_mask=mask,
            go_backwards=layer.go_backwards,
            recurrent_activation=str(cell.recurrent_activation),
            mask=masks[0],
            recurrent_mask=masks[1],
        )
        ends += both
        x = x if layer.return_sequences else x[:, -1]
    return x, ends


def wrong(found: Any, expected: Any, dtype: str, name: str) -> list[str]:
    """The problem of an array, in a line or none."""
    if found.dtype != dtype or found.shape != expected.shape:
        return [f"{name}: {found.dtype} {found.shape} in the place of {dtype} {expected.shape}"]
    error = np.max(np.abs(found - expected) / np.maximum(1, np.abs(expected)), initial=0)
    return [] if error <= TOLERANCE[dtype] else [f"{name}: off by {error}"]


@pytest.mark.parametrize("number", range(24))
def test_a_model_called_again_and_again(number: int) -> None:
    """Precision, masks, states, training and the batch change from call to call; what a call left behind does not."""
    rng = np.random.default_rng([16, number])
    model, found = model_of(rng, training=True), []
    for turn in range(5):
        batch, timesteps = cases.batch_of(rng), int(rng.integers(1, 10))
        x = rng.normal(size=(batch, timesteps, model.input_dim or 0))
        backwards = any(getattr(layer, "go_backwards", False) for layer in model.layers)
        mask = None if backwards else cases.mask_of(rng, batch, timesteps, one_of(rng, *cases.MASKS))
        precision = one_of(rng, None, "float32", "float64")
        dtype = precision or model.dtype
        x = x.astype("f") if dtype == "float32" else x
        states: Any = None
        if one_of(rng, True, False):
            states = [rng.normal(size=(batch, units)).astype("f") for units in model.state_units for _ in "hc"]
        first, draw, training = one_of(rng, 0, 0, 70), one_of(rng, 0, 0, 3), one_of(rng, True, True, False)
        with shrunk(int(rng.integers(1, 9)), per_thread=one_of(rng, 1, 10**6), units_of_two=1000):
            outputs, ends = model.run_rows(
                x,
                mask=mask,
                initial_state=states,
                training=training,
                first_row=first,
                draw=draw,
                precision=precision,
                return_state=True,
            )
        rows = range(first, first + batch) if training else None
        exact, exact_ends = truth(model, x, mask, states, rows=rows, draw=draw)
        names = ["outputs", *(f"state {i}" for i in range(len(ends)))]
        for name, value, expected in zip(names, [outputs, *ends], [exact, *exact_ends], strict=True):
            found += wrong(value, expected, dtype, f"call {turn}, {name}")
        if cases.shared_memory([outputs, *ends], [x, *(states or [])]):
            found.append(f"call {turn}: results share memory")
    assert found == []


@pytest.mark.parametrize("number", range(12))
def test_predict(number: int) -> None:
    """In pieces, of unequal lengths, and in windows."""
    rng = np.random.default_rng([17, number])
    # Sums that windows share are compiled by themselves: in float32.
    model, found = model_of(rng, training=False, dtypes=("float32",)), []
    for turn in range(3):
        batch, timesteps = cases.batch_of(rng), int(rng.integers(1, 10))
        x = rng.normal(size=(batch, timesteps, model.input_dim or 0)).astype(model.dtype)
        lengths = rng.integers(0, timesteps + 1, batch) if one_of(rng, True, False) else None
        record = rng.normal(size=(timesteps + 50, x.shape[2])).astype(model.dtype)
        stride = int(rng.integers(1, 4))
        with shrunk(int(rng.integers(1, 9)), per_thread=one_of(rng, 1, 10**6), units_of_two=1000):
            y = model.predict(x, batch_size=one_of(rng, None, 1, 7), lengths=lengths)
            windows = model.predict(record, window=timesteps, stride=stride, batch_size=one_of(rng, None, 13))
        mask = None if lengths is None else np.arange(timesteps) < lengths[:, np.newaxis]
        found += wrong(y, truth(model, x, mask, None)[0], model.dtype, f"call {turn}")
        starts = range(0, len(record) - timesteps + 1, stride)
        apart = np.stack([record[start : start + timesteps] for start in starts])
        found += wrong(windows, truth(model, apart, None, None)[0], model.dtype, f"call {turn}, windows")
    assert found == []


@pytest.mark.parametrize("number", range(16))
def test_a_session(number: int) -> None:
    """Rows on threads of their own and in parts, states set and reset."""
    rng = np.random.default_rng([18, number])
    # One row, 60 that are one group and a part of another, or as many as come.
    batch = (1, 60, max(2, cases.batch_of(rng)))[number % 3]
    dtypes = (("float64",), ("float32",), ("float32", "float64"))[number % 3]
    model = model_of(rng, training=False, dtypes=dtypes)
    x = rng.normal(size=(batch, 7, model.input_dim or 0)).astype(model.dtype)
    how = {"per_thread": one_of(rng, 1, 10**9), "per_call": one_of(rng, 1, 20_000, 10**9)}
    how = dict.fromkeys(how, 10**9) if number % 3 == 1 else how
    with shrunk(int(rng.integers(1, 9)), **how), memory() as guarded:
        session = model.session(batch)
        states = [rng.normal(size=(batch, units)).astype("d") for units in model.state_units for _ in "hc"]
        session.state = states
        found = []
        reset = rng.random(batch) < 0.4
        for t in range(7):
            if t == 4:
                session.reset(reset)
                states = [np.where(reset[:, np.newaxis], 0, state) for state in states]
            y = session.step(x[:, t])
            exact, states = truth(model, x[:, t : t + 1], None, states)
            exact = exact[:, 0] if exact.ndim == 3 else exact
            found += wrong(y, exact, model.dtype, f"step {t}")
            for i, (state, expected) in enumerate(zip(session.state, states, strict=True)):
                found += wrong(state, expected, model.dtype, f"step {t}, state {i}")
        del session, y, state
        guarded.look()
    assert found + guarded.damages == []
