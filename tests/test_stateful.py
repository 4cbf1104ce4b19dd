"""Stateful models in batches, beside what Keras's predict gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.paths import DATA

import numba_lstm as nl
from numba_lstm.errors import ConfigError, ShapeError
from numba_lstm.layers import InputLayer
from numba_lstm.runner import engine, run_npy
from numba_lstm.runner.compare import compare_npy

KERAS = np.load(DATA / "stateful" / "keras.npz")
X = KERAS["x"]  # (6, 4, 3)
CASES = sorted(key.removesuffix("/y0") for key in KERAS.files if key.endswith("/y0"))


def model_of(case: str) -> nl.Sequential:
    dialect, kind, batch = case.split("/")
    own: dict[str, Any] = {
        "dialect": dialect,
        "recurrent_activation": "hard_sigmoid" if dialect == "tf1" else "sigmoid",
    }
    layers = {
        "plain": lambda: [nl.LSTM(3, stateful=True, **own)],
        "mixed": lambda: [nl.LSTM(3, stateful=True, return_sequences=True, **own), nl.LSTM(2, **own)],
        "bidi": lambda: [
            nl.Bidirectional(nl.LSTM(3, stateful=True, return_sequences=True, **own)),
            nl.Dense(2, dialect=own["dialect"]),
        ],
        "rnn": lambda: [nl.RNN([nl.LSTMCell(3, **own), nl.LSTMCell(2, **own)], stateful=True)],
    }
    first = InputLayer(batch_input_shape=(int(batch), 4, 3), dialect=own["dialect"])
    model = nl.Sequential([first, *layers[kind]()])
    model.build()
    random = np.random.RandomState(3)
    model.set_weights([(random.randn(*w.shape) * 0.7).astype(np.float32) for w in model.get_weights()])
    return model


@pytest.mark.parametrize("case", CASES)
def test_batches_as_in_keras(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    model, batch = model_of(case), int(case[-1])
    first, second = (KERAS[f"{case}/y{number}"] for number in (0, 1))
    y = model.predict(X, batch_size=batch)
    np.testing.assert_allclose(y, first, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(model.predict(X, batch_size=batch), second, rtol=1e-5, atol=1e-6)
    model.reset_states()
    np.testing.assert_array_equal(model.predict(X, batch_size=batch), y)

    np.save("x.npy", X)
    for _ in range(2):  # each run begins anew
        report = run_npy(model, "x.npy", "y.npy", carry_state=True, batch_rows=batch, force=True)
        np.testing.assert_array_equal(np.load("y.npy"), y)
        assert not any("zero states" in note for note in report.notes)
    np.save("expected.npy", first)
    found = compare_npy(model, "x.npy", "expected.npy", carry_state=True, batch_rows=batch)
    assert found.outside == 0 and found.notes == ()
    zero = compare_npy(model, "x.npy", "expected.npy", batch_rows=batch)
    assert zero.outside > 0
    remedy = f"stateful layers begin each row from zero states; carry_state=True with batch_rows={batch} goes on"
    assert zero.notes[0].startswith(remedy)


def test_several_inputs_and_some_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    model = model_of("keras2/mixed/2")
    for name in "ab":
        np.save(f"{name}.npy", X)
    run_npy(model, ["a.npy", "b.npy"], "out", carry_state=True, batch_rows=2, rows=(2, 6))
    model.reset_states()
    expected = model.predict(X[2:], batch_size=2)
    for name in "ab":
        np.testing.assert_array_equal(np.load(f"out/{name}.npy"), expected)
    run_npy(model, "a.npy", "y.npy", carry_state=True, batch_rows=2, final_state="state.npy")
    np.testing.assert_array_equal(np.load("state.npy")[-2:, :3], model.layers[0].states[0])


def test_what_does_not_fit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", X)
    np.save("five.npy", X[:5])
    model = model_of("keras2/plain/2")
    with pytest.raises(
        ShapeError, match=r"x has 5 rows; expected a multiple of batch_size=2, for sequential is stateful"
    ):
        model.predict(X[:5], batch_size=2)
    assert model.layers[0].states is None  # nothing ran
    advice = r"lstm: inputs have 6 rows; expected 2, .*; predict\(x, batch_size=2\) takes them"
    with pytest.raises(ShapeError, match=advice):
        model.predict(X)
    with pytest.raises(ShapeError, match=r"five.npy has 5 rows; expected a multiple of batch_rows=2"):
        run_npy(model, "five.npy", "y.npy", carry_state=True, batch_rows=2)
    with pytest.raises(ConfigError, match="carry_state needs batch_rows"):
        run_npy(model, "x.npy", "y.npy", carry_state=True)
    for options in ({"mc_samples": 2}, {"initial_state": "x.npy"}):
        with pytest.raises(ConfigError, match="exclude each other"):
            run_npy(model, "x.npy", "y.npy", carry_state=True, batch_rows=2, **options)
    plain = nl.Sequential([nl.LSTM(3, batch_input_shape=(None, 4, 3))])
    plain.build()
    with pytest.raises(ConfigError, match="carry_state is set, and no layer of sequential is stateful"):
        run_npy(plain, "x.npy", "y.npy", carry_state=True, batch_rows=2)
    assert not Path("y.npy").exists()


def test_tensorflow_1_takes_the_batch_of_the_model() -> None:
    model = model_of("tf1/plain/2")
    np.testing.assert_allclose(model.predict(X), KERAS["tf1/plain/2/y0"], rtol=1e-5, atol=1e-6)


def test_the_advice_for_a_layer() -> None:
    layer = nl.LSTM(3, stateful=True, batch_input_shape=(2, None, 3))
    layer(X[:2])
    for rows in (X, X):
        with pytest.raises(
            ShapeError, match=r"expected 2, the batch of this stateful layer; predict\(x, batch_size=2\)"
        ):
            layer(rows)
        layer.reset_states()
    free = nl.LSTM(3, stateful=True)
    free(X[:2])
    with pytest.raises(ShapeError, match=r"; reset_states\(\) lets another batch follow"):
        free(X)
    free.reset_states()
    assert free(X).shape == (6, 3)


def test_the_fixed_batch_of_a_time_major_layer_stays_after_a_reset() -> None:
    layer = nl.LSTM(2, stateful=True, time_major=True, batch_input_shape=(5, 2, 3))
    x = np.ones((5, 2, 3), np.float32)
    first = layer(x)
    layer.reset_states()
    np.testing.assert_array_equal(layer(x), first)
    layer.reset_states()
    with pytest.raises(
        ShapeError, match=r"inputs have 4 rows; expected 2, the batch of this stateful layer; .* before$"
    ):
        layer(np.ones((5, 4, 3), np.float32))


def test_rows_that_fill_no_batch_are_refused() -> None:
    model = nl.Sequential([nl.LSTM(2, stateful=True, seed=1)])
    for size in (4, 5, 7, 12):
        with pytest.raises(ShapeError, match=f"x has 6 rows; expected a multiple of batch_size={size}, for sequential"):
            model.predict(X, batch_size=size)


def test_steps_say_how_many_rows_a_batch_has() -> None:
    """As many as make at most `steps` batches; a stateful model shows them."""
    for steps, batch in ((1, 6), (2, 3), (3, 2), (4, 2), (5, 2), (6, 1)):
        results = []
        for options in ({"steps": steps}, {"batch_size": batch}, {"steps": 2 if steps == 1 else 1}):
            model = nl.Sequential([nl.LSTM(2, stateful=True, seed=1)])
            results.append(model.predict(X, **options))
        np.testing.assert_array_equal(results[0], results[1])
        assert not np.array_equal(results[0], results[2])


def test_batches_that_memory_is_too_small_for_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", X)
    monkeypatch.setattr(engine, "rows_per_chunk", lambda *_, **__: 1)
    model = nl.Sequential([nl.LSTM(2, stateful=True, seed=1)])
    model.build((None, None, 3))
    with pytest.raises(
        ShapeError, match="6 rows; expected a multiple of batch_rows=2, all of a batch at a time, where"
    ):
        run_npy(model, "x.npy", "y.npy", carry_state=True, batch_rows=2)
    assert not Path("y.npy").exists()
