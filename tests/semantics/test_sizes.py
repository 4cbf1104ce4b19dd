"""sizes.py: models whose shapes ask for more than there is are refused before anything is allocated."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from numba_lstm_cli.main import cli

import numba_lstm as nl
from numba_lstm.runner import engine
from numba_lstm.semantics import sizes

OneLine = Callable[[pytest.ExceptionInfo[BaseException]], str]
GB = 10**9


@pytest.fixture(autouse=True)
def a_small_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sizes, "memory", lambda: 4 * GB)


def built(*layers: Any, shape: tuple[int | None, ...] = (None, None, 3)) -> nl.Sequential:
    model = nl.Sequential(layers)
    model.build(shape)
    return model


CASES: list[tuple[Callable[[], Any], str]] = [
    (
        lambda: built(nl.LSTM(4), nl.RepeatVector(10**8), nl.LSTM(4)),
        "repeat_vector makes 100,000,000 timesteps of a vector; expected at most 1,000,000",
    ),
    (
        lambda: built(nl.LSTM(5000), nl.RepeatVector(10**6), nl.LSTM(4)),
        "repeat_vector makes outputs of shape (any, 1000000, 5000) of inputs of shape (any, 5000), 20 GB together; "
        "expected at most 4 GB, for which there is memory; run fewer rows at a time, or make the layer smaller",
    ),
    (
        lambda: built(nl.LSTM(20_000, name="wide")),
        "wide: lstm_cell: recurrent_kernel would have shape (20000, 80000) = (units, 4 * units) and 6.4 GB; "
        "expected at most 166666666 elements with the memory there is; make the layer smaller",
    ),
    (
        lambda: built(nl.LSTM(60_000, name="lstm_1"), shape=(None, None, 2**26)),
        "lstm_1: lstm_cell: kernel would have shape (67108864, 240000) = (input_dim, 4 * units) and 6.44e+04 GB; "
        "expected at most 2147483648 elements; make the layer smaller",
    ),
    (
        lambda: built(nl.Embedding(2**28, 64), nl.LSTM(4), shape=(None, None)),
        "embedding: embeddings would have shape (268435456, 64) = (input_dim, output_dim) and 68.7 GB; "
        "expected at most 2147483648 elements; make the layer smaller",
    ),
    (
        lambda: built(nl.LSTM(4, return_sequences=True), nl.Flatten(), nl.Dense(60_000), shape=(None, 10**6, 3)),
        "dense: kernel would have shape (4000000, 60000) = (input_dim, units) and 960 GB; "
        "expected at most 2147483648 elements; make the layer smaller",
    ),
    (lambda: nl.LSTM(10**6), "units is 1000000; expected an integer from 1 to 65536"),
    (lambda: nl.Embedding(10**9, 4), "input_dim is 1000000000; expected an integer from 1 to 268435456"),
]


@pytest.mark.parametrize(("make", "message"), CASES, ids=range(len(CASES)))
def test_absurd_models_are_refused_before_allocation(make: Callable[[], Any], message: str, one_line: OneLine) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(nl.NumbaLSTMError) as info:
            make()
        assert tracemalloc.get_traced_memory()[1] < 1_700_000_000 // 10
    finally:
        tracemalloc.stop()
    assert one_line(info) == message


def test_many_layers_that_are_small_enough_one_by_one(one_line: OneLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sizes, "memory", lambda: 1_000_000)
    with pytest.raises(nl.NumbaLSTMError) as info:
        built(*(nl.LSTM(60, return_sequences=True, name=f"layer{i}") for i in range(20)))
    assert one_line(info) == (
        "layer4: the new weights up to this layer take 0.000526 GB; expected at most 0.0005 GB, half of the memory; "
        "make the layers smaller"
    )


def never(*_: Any) -> Any:
    raise AssertionError("drawn")


def cells(count: int) -> list[nl.LSTMCell]:
    drawn = {f"{weight}_initializer": never for weight in ("kernel", "bias")}
    return [nl.LSTMCell(60, recurrent_initializer=never, name=f"cell{i}", **drawn) for i in range(count)]


def layers(count: int) -> list[Any]:
    return [nl.RNN(cell, return_sequences=True, name=f"layer{i}") for i, cell in enumerate(cells(count))]


def table(rows: int) -> Any:
    return nl.Embedding(rows, 10, embeddings_initializer=never)


PARTS: list[tuple[str, Callable[[], Any]]] = [
    ("layer3", lambda: built(*layers(9))),
    ("last", lambda: built(nl.RNN(cells(2), return_sequences=True), nl.Bidirectional(layers(1)[0], name="last"))),
    ("rnn", lambda: built(nl.RNN(cells(9)))),
    ("rnn", lambda: nl.RNN(cells(9)).build((None, None, 3))),
    ("bidirectional", lambda: built(nl.Bidirectional(nl.RNN(cells(2))))),
    ("bidirectional", lambda: nl.Bidirectional(nl.RNN(cells(2))).build((None, 5, 3))),
    ("stacked_rnn_cells", lambda: nl.StackedRNNCells(cells(9)).build(3)),
    ("time_distributed", lambda: built(nl.TimeDistributed(nl.RNN(cells(9))), shape=(None, 4, 5, 3))),
    ("last", lambda: built(*layers(3), nl.TimeDistributed(nl.Dense(300, kernel_initializer=never), name="last"))),
    ("last", lambda: built(*layers(3), nl.Dense(300, kernel_initializer=never, name="last"))),
    ("layer2", lambda: built(table(1500), *layers(9), shape=(None, None))),
    ("last", lambda: built(*layers(3), nl.Flatten(), nl.LayerNormalization(name="last"), shape=(None, 200, 3))),
]


@pytest.mark.parametrize(("name", "make"), PARTS, ids=range(len(PARTS)))
def test_nothing_is_drawn_of_a_model_that_is_too_large(
    name: str, make: Callable[[], Any], one_line: OneLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sizes, "memory", lambda: 700_000)
    with pytest.raises(nl.NumbaLSTMError) as info:
        make()
    assert one_line(info).startswith(f"{name}: the new weights up to this layer take ")


def test_weights_that_are_there_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    model = built(*(nl.LSTM(60, return_sequences=True, seed=1, name=f"layer{i}") for i in range(4)))
    monkeypatch.setattr(sizes, "memory", lambda: 700_000)
    model.add(nl.Dense(60))
    model.build()
    assert model.count_params() * 4 > 700_000 // 2


def test_calls_and_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, one_line: OneLine) -> None:
    monkeypatch.chdir(tmp_path)
    model = built(nl.LSTM(4, seed=1), nl.RepeatVector(1000), nl.Activation("linear"))
    x = np.zeros((8, 2, 3), np.float32)
    expected = model(x)
    nl.save(model, "m.npz")
    np.save("x.npy", x)
    monkeypatch.setattr(sizes, "memory", lambda: 100_000)
    with pytest.raises(nl.NumbaLSTMError) as info:
        nl.load("m.npz")(x)
    assert one_line(info) == (
        "repeat_vector makes outputs of shape (8, 1000, 4) of inputs of shape (8, 4), 0.000128 GB together; expected "
        "at most 0.0001 GB, for which there is memory; run fewer rows at a time, or make the layer smaller"
    )
    nl.run_npy("m.npz", "x.npy", "y.npy", batch_rows=2)
    np.testing.assert_array_equal(np.load("y.npy"), expected)
    for module in (engine, sizes):
        monkeypatch.setattr(module, "memory", lambda: 10**6)
    report = nl.run_npy("m.npz", "x.npy", "y.npy", force=True)
    assert report.chunk_rows == 5  # of 8: a row takes up to 100 kB, and half of the memory is for the rest
    np.testing.assert_array_equal(np.load("y.npy"), expected)
    monkeypatch.setattr(sizes, "memory", lambda: 30_000)
    done = CliRunner().invoke(cli, ["run", "m.npz", "x.npy", "-o", "z.npy"])
    assert (done.exit_code, done.stderr.count("\n")) == (1, 1)
    assert done.stderr.startswith("Error: m.npz: activation makes outputs of shape (any, 1000, 4) of ")
    assert not Path("z.npy").exists()


def test_the_command_refuses_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for words, message in (
        (["--units", "1000000", "--input-dim", "3"], "units is 1000000; expected an integer from 1 to 65536"),
        (["--units", "30000", "--input-dim", "3"], "recurrent_kernel would have shape (30000, 120000)"),
        (["--units", "8", "--input-dim", "100000000"], "kernel would have shape (100000000, 32)"),
    ):
        done = CliRunner().invoke(cli, ["init", *words, "a.npz"])
        assert (done.exit_code, done.stderr.count("\n")) == (1, 1)
        assert message in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_the_memory_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    assert 2**28 < sizes.memory() < 2**50
