"""Inputs beside the shape that a model was made for: what is refused, and the axis that Keras adds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from numba_lstm_cli.main import cli

import numba_lstm as nl
from numba_lstm.errors import NonFiniteError, ShapeError
from numba_lstm.layers import InputLayer
from numba_lstm.runner import run_npy
from numba_lstm.runner.compare import compare_npy

RECORD = np.random.default_rng(5).standard_normal((40, 3), np.float32)


def command(*words: str, code: int = 0) -> Result:
    result = CliRunner().invoke(cli, list(words))
    assert result.exit_code == code, result.output
    return result


def lstm(dialect: Any, **options: Any) -> nl.LSTM:
    """With activations for which one kernel serves every dialect."""
    return nl.LSTM(2, recurrent_activation="sigmoid", seed=1, dialect=dialect, **options)


def by_input_layer(shape: tuple[int | None, ...], dialect: Any) -> nl.Sequential:
    return nl.Sequential([InputLayer(batch_input_shape=shape, dialect=dialect), lstm(dialect)])


def by_argument(shape: tuple[int | None, ...], dialect: Any) -> nl.Sequential:
    return nl.Sequential([lstm(dialect, batch_input_shape=shape)])


def by_build(shape: tuple[int | None, ...], dialect: Any) -> nl.Sequential:
    model = nl.Sequential([lstm(dialect)])
    model.build(shape)
    return model


def loaded(shape: tuple[int | None, ...], dialect: Any) -> nl.Sequential:
    model = by_input_layer(shape, dialect)
    model.build()
    return nl.Sequential.from_config(model.get_config())


MADE = [by_input_layer, by_argument, by_build, loaded]


@pytest.mark.parametrize("make", MADE)
@pytest.mark.parametrize("dialect", ["tf1", "keras2", "keras3"])
def test_other_timesteps_are_refused(make: Any, dialect: Any) -> None:
    model = make((None, 24, 3), dialect)
    message = r"sequential: inputs have 40 timesteps; expected 24, for which the model was made; window=24 runs it"
    for call in (model, model.predict, lambda x: model.run_rows(x)):
        with pytest.raises(ShapeError, match=message):
            call(RECORD[np.newaxis])
    with pytest.raises(ShapeError, match=r"inputs have 9 timesteps; expected 24, for which the model was made$"):
        model.predict(RECORD[np.newaxis, :9])
    with pytest.raises(ShapeError, match="inputs have 10 timesteps; expected 24"):
        model.predict(RECORD, window=10)
    y = model.predict(RECORD, window=24)
    assert y.shape == (17, 2)
    np.testing.assert_array_equal(y[3], model(RECORD[np.newaxis, 3:27])[0])
    with pytest.raises(ShapeError, match="4"):
        model(np.zeros((1, 24, 4)))
    model.build((None, None, 3))
    assert model(RECORD[np.newaxis]).shape == (1, 2)


def test_a_first_call_settles_the_features_alone() -> None:
    model = nl.Sequential([nl.LSTM(2, seed=1)])
    model(RECORD[np.newaxis, :9])
    assert model(RECORD[np.newaxis]).shape == (1, 2) and model.timesteps is None
    for config in (model.get_config(), {"layers": model.get_config()["layers"][1:], "build_input_shape": [None, 9, 3]}):
        again = nl.Sequential.from_config(config)
        again.build()
        assert again.predict(RECORD[np.newaxis, :9]).shape == again.predict(RECORD[np.newaxis]).shape == (1, 2)
    flat = nl.Sequential([nl.LSTM(2, return_sequences=True, seed=1), nl.Flatten(), nl.Dense(2)])
    flat(RECORD[np.newaxis, :9])
    assert flat.get_config()["layers"][0]["config"]["batch_input_shape"] == [None, 9, 3]
    with pytest.raises(ShapeError):
        model(np.zeros((1, 9, 4)))


def test_inner_axes_count_too() -> None:
    model = nl.Sequential([nl.TimeDistributed(nl.LSTM(2), batch_input_shape=(None, 3, 6, 2))])
    assert model(np.zeros((4, 3, 6, 2))).shape == (4, 3, 2)
    with pytest.raises(ShapeError, match=r"inputs have shape \(4, 3, 5, 2\); expected \(batch, 3, 6, 2\)"):
        model(np.zeros((4, 3, 5, 2)))
    words = nl.Sequential([nl.Embedding(5, 3, batch_input_shape=(None, 6)), nl.LSTM(2)])
    with pytest.raises(ShapeError, match="inputs have 7 timesteps; expected 6"):
        words(np.zeros((4, 7)))


def test_a_fixed_batch_is_noted_and_never_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    model = by_input_layer((2, 24, 3), "keras2")
    x = np.stack([RECORD[i : i + 24] for i in range(5)])
    y = model.predict(x)
    np.save("x.npy", x)
    report = run_npy(model, "x.npy", "y.npy")
    np.testing.assert_array_equal(np.load("y.npy"), y)
    assert report.notes == ("the model was made for batches of 2; any number of rows runs",)
    nl.save(model, "model.npz")
    assert "note: the model was made for batches of 2" in command("inspect", "model.npz").stdout


@pytest.mark.parametrize("make", MADE)
def test_the_axis_that_keras_adds(make: Any) -> None:
    x = RECORD[:24, 0].reshape(4, 6)
    for dialect in ("keras2", "keras3"):
        model = make((None, 6, 1), dialect)
        np.testing.assert_array_equal(model(x), model(x[..., np.newaxis]))
        np.testing.assert_array_equal(model.predict(x.tolist()), model(x))
        np.testing.assert_array_equal(model(x[..., np.newaxis, np.newaxis]), model(x))
        with pytest.raises(ShapeError, match="inputs have 5 timesteps; expected 6"):
            model(x[:, :5])
        with pytest.raises(ShapeError):
            model(x[0])
        two = make((None, 6, 2), dialect)
        with pytest.raises(ShapeError):
            two(x)
        np.testing.assert_array_equal(two(np.ones((3, 6, 2, 1))), two(np.ones((3, 6, 2))))
    with pytest.raises(ShapeError, match="inputs has shape"):  # TensorFlow 1.15 refuses it
        make((None, 6, 1), "tf1")(x)


@pytest.mark.parametrize("dialect", ["tf1", "keras2", "keras3"])
def test_the_axis_of_vectors_of_one_feature(dialect: Any) -> None:
    model = nl.Sequential([nl.RepeatVector(4, input_shape=(1,), dialect=dialect), nl.LSTM(3, dialect=dialect, seed=1)])
    x = np.arange(6.0)
    if dialect == "tf1":
        with pytest.raises(ShapeError, match=r"inputs have shape \(6,\); expected \(batch, 1\)"):
            model(x)
    else:
        np.testing.assert_array_equal(model.predict(x), model(x[:, np.newaxis]))


def test_words_with_an_axis_too_much() -> None:
    words = np.array([[1, 2, 0], [4, 3, 3]])
    for dialect in ("keras2", "keras3"):
        model = nl.Sequential(
            [nl.Embedding(5, 3, batch_input_shape=(None, 3), dialect=dialect), nl.LSTM(2, dialect=dialect)]  # type: ignore[arg-type]
        )
        np.testing.assert_array_equal(model(words[..., np.newaxis]), model(words))


def test_files_of_every_rank(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)

    def run(model: nl.Sequential, x: Any, **options: Any) -> tuple[Any, tuple[str, ...]]:
        np.save("x.npy", x)
        report = run_npy(model, "x.npy", "y.npy", force=True, **options)
        return np.load("y.npy"), report.notes

    one = by_input_layer((None, None, 1), "keras3")
    one.build()
    x = RECORD[:24, 0].reshape(4, 6)
    for size in (1, 3, None):
        y, notes = run(one, x, batch_rows=size)
        np.testing.assert_array_equal(y, one.predict(x))
        assert notes == ("x.npy got a last axis of length 1, as in Keras: (4, 6, 1)",)
    np.save("expected.npy", y)
    assert compare_npy(one, "x.npy", "expected.npy").notes == notes
    y, _ = run(one, x, window=3)
    np.testing.assert_array_equal(y, one.predict(x, window=3))
    # (timesteps, 1) is one record.
    y, notes = run(one, x.reshape(24, 1))
    np.testing.assert_array_equal(y, one.predict(x.reshape(1, 24, 1))[0])
    assert notes == ()
    y, notes = run(one, x.reshape(4, 6, 1, 1))
    np.testing.assert_array_equal(y, one.predict(x))
    assert notes == ("x.npy lost its last axis of length 1, as in Keras: (4, 6, 1)",)
    with pytest.raises(ShapeError, match=r"x.npy has shape \(24,\); expected \(batch, timesteps, input_dim\), or one"):
        run(one, x.reshape(24))
    tf1 = by_input_layer((None, None, 1), "tf1")
    tf1.build()
    with pytest.raises(ShapeError, match=r"x.npy has shape \(4, 6\), input_dim 6; expected 1"):
        run(tf1, x)

    four = nl.Sequential(
        [nl.TimeDistributed(nl.LSTM(2, seed=1), batch_input_shape=(None, None, 6, 2)), nl.LSTM(3, seed=2)]
    )
    four.build()
    x = np.random.default_rng(1).standard_normal((5, 3, 6, 2), np.float32)
    for size in (2, None):
        np.testing.assert_array_equal(run(four, x, batch_rows=size)[0], four.predict(x))
    np.testing.assert_array_equal(run(four, x[0])[0], four.predict(x)[0])
    np.testing.assert_array_equal(run(four, x, window=2)[0], four.predict(x, window=2))
    with pytest.raises(ShapeError, match=r"x.npy has shape \(5, 3, 5, 2\); expected \(batch, timesteps, 6, 2\)"):
        run(four, x[:, :, :5])
    lengths = np.array([1, 3, 2, 3, 1])
    np.save("lengths.npy", lengths)
    whole = np.arange(18).reshape(3, 6) % 4 != np.arange(5)[:, np.newaxis, np.newaxis]
    for mask in (whole, np.arange(3) < lengths[:, np.newaxis]):
        np.save("mask.npy", mask)
        np.testing.assert_array_equal(run(four, x, mask="mask.npy", batch_rows=2)[0], four(x, mask=mask))
        np.save("mask.npy", mask[1])
        np.testing.assert_array_equal(run(four, x[1], mask="mask.npy")[0], four(x, mask=mask)[1])
    y, _ = run(four, x, lengths="lengths.npy", on_nan="error")
    np.testing.assert_array_equal(y, four.predict(x, lengths=lengths))
    x[2, 1, 4, 0] = np.nan
    with pytest.raises(NonFiniteError, match=r"x.npy has a NaN in row 2, timestep 1"):
        run(four, x, on_nan="error")

    words = nl.Sequential([nl.Embedding(5, 3), nl.TimeDistributed(nl.LSTM(2, seed=1)), nl.LSTM(3, seed=2)])
    words.build((None, None, 6))
    x = np.random.default_rng(1).integers(0, 5, (5, 3, 6))
    np.testing.assert_array_equal(run(words, x, batch_rows=2)[0], words.predict(x))
    np.testing.assert_array_equal(run(words, x[0])[0], words.predict(x)[0])


def test_the_command_says_which_option_helps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    model = by_input_layer((None, 24, 3), "keras3")
    model.build()
    nl.save(model, "model.npz")
    np.save("x.npy", RECORD)
    done = command("run", "model.npz", "x.npy", "-o", "y.npy", code=1)
    assert done.stderr.startswith("Error: x.npy: inputs have 40 timesteps; expected 24, for which the model was made; ")
    assert done.stderr.rstrip().endswith("made; --window 24 runs it on every window of that many")
    command("run", "model.npz", "x.npy", "-o", "y.npy", "--window", "24")
    np.testing.assert_array_equal(np.load("y.npy"), model.predict(RECORD, window=24))
