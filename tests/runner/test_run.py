"""Runs over .npy files: the same bits however rows are cut, and files that are whole or absent."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.running import INPUT_DIM, ROWS, TIMESTEPS, a_model, identical, last_output_model, run

from numba_lstm import LSTM, Activation, Bidirectional, Dense, Embedding, LSTMCell, Sequential, TimeDistributed, run_npy
from numba_lstm.layers import RNN
from numba_lstm.runner import RunReport


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator) -> Path:
    """A working folder with an input x.npy."""
    monkeypatch.chdir(tmp_path)
    np.save("x.npy", rng.normal(size=(ROWS, TIMESTEPS, INPUT_DIM)).astype(np.float32))
    return tmp_path


def test_output_is_the_models(folder: Path) -> None:
    model = a_model()
    report = run_npy(model, "x.npy", "y.npy")
    identical(np.load("y.npy"), model(np.load("x.npy")))
    assert isinstance(report, RunReport)
    assert (report.rows, report.timesteps, report.device, report.precision, report.dialect, report.seed) == (
        ROWS,
        (TIMESTEPS, TIMESTEPS),
        "cpu",
        "float32",
        "tf1",
        None,
    )
    assert report.outputs == {"y.npy": (ROWS, TIMESTEPS, 2)}
    assert report.seconds > 0
    assert report.rows_per_second == pytest.approx(ROWS / report.seconds)
    assert report.notes == ()
    assert sorted(os.listdir()) == ["x.npy", "y.npy"]


@pytest.mark.parametrize("precision", ["float32", "float64"])
@pytest.mark.parametrize("size", [1, 2, 8, 22, 23, 100])
def test_chunks_change_no_bit(folder: Path, size: int, precision: str) -> None:
    model = a_model()
    identical(
        run(model, batch_rows=size, precision=precision), run(model, "whole.npy", precision=precision, batch_rows=ROWS)
    )


@pytest.mark.parametrize("size", [1, 5, 23])
def test_dropout_masks_belong_to_rows(folder: Path, size: int) -> None:
    model = a_model()
    whole = run(model, "whole.npy", training=True, seed=7)
    identical(run(model, training=True, seed=7, batch_rows=size), whole)
    identical(run(model, training=True, seed=7, batch_rows=size, rows=(4, 19)), whole[4:19])
    assert not np.array_equal(run(model, training=True, seed=8), whole)
    assert not np.array_equal(run(model), whole)


def test_a_seed_is_taken_and_reported(folder: Path) -> None:
    model = a_model()
    report = run_npy(model, "x.npy", "y.npy", training=True)
    assert report.seed is not None
    identical(run(model, "again.npy", training=True, seed=report.seed), np.load("y.npy"))


@pytest.mark.parametrize("size", [1, 5, 23])
def test_monte_carlo(folder: Path, size: int) -> None:
    model = a_model()
    run_npy(model, "x.npy", "y.npy", mc_samples=5, seed=7, batch_rows=size)
    x = np.load("x.npy")
    model.reseed(7)
    samples = np.stack([model.run_rows(x, training=True, draw=draw)[0] for draw in range(5)]).astype(np.float64)
    assert len({sample.tobytes() for sample in samples}) == 5
    np.testing.assert_allclose(np.load("y.npy"), samples.mean(axis=0), rtol=0, atol=1e-7)
    np.testing.assert_allclose(np.load("y.std.npy"), samples.std(axis=0), rtol=0, atol=1e-7)
    identical(np.load("y.npy"), run(model, "one.npy", mc_samples=5, seed=7))
    identical(np.load("y.std.npy"), np.load("one.std.npy"))


def test_rows(folder: Path) -> None:
    model = a_model()
    whole = run(model)
    identical(run(model, rows=(3, None)), whole[3:])
    identical(run(model, rows=(0, 1)), whole[:1])


def test_one_record_has_no_batch_axis(folder: Path) -> None:
    np.save("record.npy", np.load("x.npy")[4])
    model = a_model()
    identical(run(model, inputs="record.npy"), run(model, "whole.npy")[4])
    last = last_output_model()
    identical(run(last, inputs="record.npy", final_state="state.npy"), run(last, "whole.npy")[4])
    assert np.load("state.npy").shape == (1, 8)
    identical(run(a_model(), inputs="record.npy", mask=None, last_only=True), run(model, "whole.npy")[4, -1])


def test_masks_and_lengths(folder: Path, rng: np.random.Generator) -> None:
    model, x = a_model(), np.load("x.npy")
    mask = rng.random((ROWS, TIMESTEPS)) < 0.6
    np.save("mask.npy", mask)
    identical(run(model, mask="mask.npy", batch_rows=4), model(x, mask=mask))
    np.save("mask.npy", mask.astype(np.float64) * -3)
    identical(run(model, mask="mask.npy", batch_rows=4), model(x, mask=mask))
    lengths = rng.integers(0, TIMESTEPS + 1, ROWS).astype(np.uint8)
    np.save("lengths.npy", lengths)
    identical(run(model, lengths="lengths.npy", batch_rows=4), model(x, mask=np.arange(TIMESTEPS) < lengths[:, None]))
    identical(run(model, lengths="lengths.npy", batch_rows=4, rows=(5, 9)), run(model, lengths="lengths.npy")[5:9])
    np.save("record.npy", x[2])
    np.save("mask.npy", mask[2])
    identical(run(model, inputs="record.npy", mask="mask.npy"), model(x, mask=mask)[2])


@pytest.mark.parametrize("size", [1, 4, None])
@pytest.mark.parametrize("stride", [1, 2, 5])
def test_windows_of_a_record(folder: Path, stride: int, size: int | None, rng: np.random.Generator) -> None:
    model = a_model()
    record = rng.normal(size=(20, INPUT_DIM)).astype(np.float32)
    mask = rng.random(20) < 0.7
    np.save("record.npy", record)
    np.save("mask.npy", mask)
    starts = range(0, 20 - 6 + 1, stride)
    windows = np.stack([record[start : start + 6] for start in starts])
    masks = np.stack([mask[start : start + 6] for start in starts])
    options: dict[str, Any] = {"window": 6, "stride": stride, "batch_rows": size, "inputs": "record.npy"}
    identical(run(model, **options), model(windows))
    identical(run(model, **options, mask="mask.npy"), model(windows, mask=masks))
    identical(run(model, **options, rows=(1, 3)), model(windows)[1:3])
    identical(
        run(model, **options, training=True, seed=3), run(model, **{**options, "batch_rows": 2}, training=True, seed=3)
    )


@pytest.mark.parametrize("size", [1, 2, 3, 7, None])
def test_windows_of_a_batch(folder: Path, size: int | None, rng: np.random.Generator) -> None:
    model, x = a_model(), np.load("x.npy")
    mask = rng.random((ROWS, TIMESTEPS)) < 0.7
    np.save("mask.npy", mask)
    expected = np.stack([model(x[:, start : start + 4], mask=mask[:, start : start + 4]) for start in (0, 2)], axis=1)
    options: dict[str, Any] = {"window": 4, "stride": 2, "batch_rows": size, "mask": "mask.npy"}
    identical(run(model, **options), expected)
    identical(run(model, **options, rows=(3, 9)), expected[3:9])
    identical(run(model, window=4, stride=2, batch_rows=size), model.predict(x, windows=(4, 2)))


@pytest.mark.parametrize("size", [1, 6, None])
def test_time_major(folder: Path, size: int | None, rng: np.random.Generator) -> None:
    model, x = a_model(), np.load("x.npy")
    mask = rng.random((ROWS, TIMESTEPS)) < 0.6
    lengths = rng.integers(1, TIMESTEPS + 1, ROWS)
    np.save("xt.npy", x.swapaxes(0, 1).copy())
    np.save("mask.npy", mask.T.copy())
    np.save("lengths.npy", lengths)
    options: dict[str, Any] = {"time_major": True, "batch_rows": size, "inputs": "xt.npy"}
    identical(run(model, **options), np.ascontiguousarray(model(x).swapaxes(0, 1)))
    identical(run(model, **options, mask="mask.npy"), np.ascontiguousarray(model(x, mask=mask).swapaxes(0, 1)))
    identical(
        run(model, **options, lengths="lengths.npy", rows=(2, 9)),
        np.ascontiguousarray(model(x, mask=np.arange(TIMESTEPS) < lengths[:, None]).swapaxes(0, 1)[:, 2:9]),
    )
    identical(run(model, **options, last_only=True), model(x)[:, -1].copy())
    identical(run(last_output_model(), **options), last_output_model()(x))


@pytest.mark.parametrize(
    "layers",
    [
        [LSTM(4, return_sequences=True, seed=1)],
        [LSTM(4, return_sequences=True, go_backwards=True, zero_output_for_mask=True, seed=1)],
        [LSTM(4, return_sequences=True, go_backwards=True, zero_output_for_mask=True, unroll=True, seed=1)],
        [LSTM(4, return_sequences=True, return_state=True, stateful=True, seed=1)],
        [
            RNN([LSTMCell(4, seed=1), LSTMCell(2, seed=2)], return_sequences=True),
            Dense(3, "softmax"),
            Activation("relu"),
        ],
        [LSTM(4, return_sequences=True, seed=1), Dense(3), LSTM(2, return_sequences=True, seed=2), Dense(3)],
        [Bidirectional(LSTM(4, return_sequences=True, seed=1))],
        [LSTM(4, return_sequences=True, seed=1), TimeDistributed(Dense(3))],
        [Dense(3)],
    ],
    ids=lambda layers: " ".join(type(layer).__name__ for layer in layers),
)
def test_the_last_timestep_is_that_of_the_sequence(folder: Path, layers: list[Any], rng: np.random.Generator) -> None:
    """However little of the sequence is made for it."""
    model, x = Sequential(layers), np.load("x.npy")
    model.build((None, None, INPUT_DIM))
    mask = rng.random((ROWS, TIMESTEPS)) < 0.5
    mask[:2] = False
    for steps in (None, mask):
        whole, states = model.run_rows(x, mask=steps, return_state=True)
        last, last_states = model.run_rows(x, mask=steps, return_state=True, last_only=True)
        identical(last, whole[:, -1].copy())
        for first, second in zip(states, last_states, strict=True):
            identical(first, second)


def test_states_carry_a_sequence_on(folder: Path) -> None:
    model, x = Sequential([LSTM(5, return_sequences=True, seed=1), LSTM(3, seed=2)]), np.load("x.npy")
    model.build((None, None, INPUT_DIM))
    np.save("begin.npy", x[:, :4])
    np.save("end.npy", x[:, 4:])
    run(model, inputs="begin.npy", final_state="state.npy", batch_rows=5)
    state = np.load("state.npy")
    assert state.shape == (ROWS, 2 * (5 + 3))
    identical(run(model, inputs="end.npy", initial_state="state.npy", batch_rows=3), model(x))
    _, states = model.run_rows(x[:, :4], return_state=True)
    identical(state, np.concatenate(states, axis=1))


@pytest.mark.parametrize("dtype", ["float64", "float16", "int16", "uint8", "bool", ">f4"])
def test_inputs_are_cast_and_it_is_said_once(folder: Path, dtype: str) -> None:
    model, x = a_model(), (np.load("x.npy") * 3).astype(dtype)
    np.save("x2.npy", x)
    report = run_npy(model, "x2.npy", "y.npy", batch_rows=2)
    identical(np.load("y.npy"), model(x.astype(np.float32)))
    name = "big-endian float32" if dtype == ">f4" else dtype
    assert report.notes == (f"x2.npy: {name} read as float32",)


def test_fortran_order(folder: Path) -> None:
    np.save("xf.npy", np.asfortranarray(np.load("x.npy")))
    report = run_npy(a_model(), "xf.npy", "y.npy", batch_rows=4)
    identical(np.load("y.npy"), a_model()(np.load("x.npy")))
    assert report.notes == ("xf.npy: Fortran-ordered float32 read as float32",)


def test_indices(folder: Path, rng: np.random.Generator) -> None:
    model = Sequential([Embedding(9, 4, mask_zero=True), LSTM(3, seed=1)])
    model.build((None, None))
    x = rng.integers(0, 9, (ROWS, TIMESTEPS))
    np.save("indices.npy", x)
    identical(run(model, inputs="indices.npy", batch_rows=4), model(x))
    np.save("record.npy", x[3])
    identical(run(model, inputs="record.npy"), model(x)[3])
    identical(run(model, inputs="indices.npy", window=3, stride=4), model.predict(x, windows=(3, 4)))


def test_no_rows(folder: Path) -> None:
    np.save("none.npy", np.zeros((0, TIMESTEPS, INPUT_DIM), np.float32))
    assert run(a_model(), inputs="none.npy").shape == (0, TIMESTEPS, 2)
    assert run(a_model(), inputs="none.npy", window=3).shape == (0, 5, 3, 2)
    assert run(last_output_model(), inputs="none.npy", mc_samples=2, final_state=None).shape == (0, 4)


def test_stateful_layers_begin_anew_with_each_row(folder: Path) -> None:
    model = Sequential([LSTM(4, stateful=True, seed=4)])
    model.build((None, None, INPUT_DIM))
    identical(run(model, batch_rows=4), last_output_model()(np.load("x.npy")))


def test_time_major_models(folder: Path) -> None:
    model = Sequential([RNN(LSTMCell(3, seed=5), return_sequences=True, time_major=True)])
    model.build((None, None, INPUT_DIM))
    plain = Sequential([RNN(LSTMCell(3, seed=5), return_sequences=True)])
    plain.build((None, None, INPUT_DIM))
    identical(run(model, batch_rows=4), plain(np.load("x.npy")))


def test_threads(folder: Path) -> None:
    from numba_lstm import get_num_threads, set_num_threads

    before = get_num_threads()
    try:
        whole = run(a_model(), threads=1)
        assert get_num_threads() == 1
        identical(run(a_model(), threads=2), whole)
    finally:
        set_num_threads(before)


def test_several_files_go_to_a_folder(folder: Path) -> None:
    x = np.load("x.npy")
    Path("in").mkdir()
    Path("masks").mkdir()
    for name, part in (("a.npy", x[:5]), ("b.npy", x[5:, :4])):
        np.save(f"in/{name}", part)
        np.save(f"masks/{name}", np.ones(part.shape[:2], bool))
    Path("in/notes.txt").write_text("not an input")
    model = a_model()
    seen: list[tuple[int, int]] = []
    report = run_npy(
        model, "in", "out", mask="masks", final_state="states", progress=lambda *at: seen.append(at), batch_rows=10
    )
    identical(np.load("out/a.npy"), model(x[:5]))
    identical(np.load("out/b.npy"), model(x[5:, :4]))
    assert np.load("states/a.npy").shape == (5, 2 * (5 + 4 + 4))
    assert (report.rows, report.timesteps) == (ROWS, (4, 7))
    assert list(report.outputs) == ["out/a.npy", "states/a.npy", "out/b.npy", "states/b.npy"]
    assert seen == [(0, ROWS), (5, ROWS), (15, ROWS), (ROWS, ROWS)]
    assert run_npy(model, ["in/b.npy", "in/a.npy"], "out2").timesteps == (4, TIMESTEPS)
    assert sorted(os.listdir("out2")) == ["a.npy", "b.npy"]
    run_npy(model, "in/a.npy", "out2", force=True)
    assert sorted(os.listdir("out2")) == ["a.npy", "b.npy"]


def test_notes_are_those_of_the_model_and_of_the_run(folder: Path) -> None:
    model = Sequential([LSTM(4, stateful=True, seed=4)])
    model.build((None, None, INPUT_DIM))
    notes = run_npy(model, "x.npy", "y.npy", training=True, seed=1).notes
    assert [note.split()[0] for note in notes] == ["stateful", "no"]
