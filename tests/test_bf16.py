"""precision="bf16": the rounding, the arithmetic beside an emulation of it, every option, and the error it makes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import naive
import numba
import numpy as np
import pytest
from numpy.typing import NDArray
from support.bf16 import FLOAT32_ERROR, PAIRS, largest_step_error, operands, packed_cell, random_weights, to_bf16
from support.paths import ROOT

import numba_lstm as nl
from numba_lstm.backends.cpu import policy, threads
from numba_lstm.backends.cpu import run as cpu
from numba_lstm.errors import DeviceError
from numba_lstm.kernels import pack, simd
from numba_lstm.layers.call import checked_precision

Array = NDArray[Any]
DATA = ROOT / "data"
# docs/reliability.md: how far outputs are from those in float64.
STATED_ERROR = 0.02


SPECIAL = np.array(
    [
        *(0.0, np.inf, 1e-40, 2.0**-126, 2.0**-127, 2.0**-133, 2.0**-134, 1.17549e-38, 3.3895314e38, 3.4e38),
        *(1 + 2.0**-8, 1 + 3 * 2.0**-8, 1 + 2.0**-8 + 2.0**-23, 1 + 2.0**-8 - 2.0**-23, 2 - 2.0**-23, 1e-20, 1e20),
    ],
    np.float32,
)


def numbers_of_all_sizes() -> Array:
    bits = np.random.default_rng(1).integers(0, 2**32, 100_000, dtype=np.uint32).view(np.float32)
    return np.concatenate([SPECIAL, -SPECIAL, bits[~np.isnan(bits)]])


@numba.njit
def copied(source: int, target: int, count: int, of_source: Any, of_target: Any) -> None:
    x, y = simd.memory_at(source, of_source), simd.memory_at(target, of_target)
    for i in range(0, count, simd.lanes(x)):
        simd.store(y, i, simd.load(x, i))


@pytest.mark.skipif(not PAIRS, reason="this CPU has no instructions for bf16")
def test_the_rounding_of_inputs() -> None:
    """Like that of weights; numbers below the smallest normal one come out as zero."""
    x = pack.aligned_zeros(100_048, np.dtype(np.float32))
    numbers = numbers_of_all_sizes()[: len(x) - 8]
    x[: len(numbers)], x[-8:] = numbers, np.array([np.nan, -np.nan] * 4)
    rounded = pack.aligned_zeros(len(x), np.dtype(np.uint16))
    copied(pack.address(x), pack.address(rounded), len(x), np.float32(0), np.uint16(0))
    widened = (rounded.astype(np.uint32) << 16).view(np.float32)
    expected = np.where(np.abs(numbers) < 2.0**-126, 0, to_bf16(numbers))
    assert np.array_equal(widened[: len(numbers)], expected) and np.isnan(widened[-8:]).all()


def test_loading_bf16_is_exact() -> None:
    bits = pack.aligned_zeros(2**16, np.dtype(np.uint16))
    bits[:] = np.arange(2**16)
    x = pack.aligned_zeros(2**16, np.dtype(np.float32))
    copied(pack.address(bits), pack.address(x), len(x), np.uint16(0), np.float32(0))
    assert np.array_equal(x.view(np.uint32), bits.astype(np.uint32) << 16)


@pytest.mark.parametrize("extra", ["nothing", "mask", "one mask of dropout", "dropout for each gate"])
@pytest.mark.parametrize(
    ("batch", "input_dim", "units"),
    [(1, 3, 5), (1, 17, 40), (2, 16, 33), (4, 1, 16), (7, 11, 21), (9, 33, 48), (52, 9, 19)],
)
def test_steps_against_an_emulation(batch: int, input_dim: int, units: int, extra: str) -> None:
    """Odd numbers of inputs and units fill half a word; one row, a few and many rows take different ways."""
    rng = np.random.default_rng(units)
    weights = random_weights(rng, input_dim, units)
    h, c = rng.standard_normal((2, batch, units)).astype(np.float32)
    x = rng.standard_normal((batch, 6, input_dim)).astype(np.float32)
    mask = rng.random((batch, 6)) < 0.7 if extra == "mask" else np.ones((batch, 6), bool)
    masks: list[Any] = [None, None]
    if "dropout" in extra:
        number = 4 if "each" in extra else 1
        masks = [(rng.random((number, batch, n)) * 2).astype(np.float32) for n in (input_dim, units)]
    y, _, _ = cpu.sequence(
        packed_cell(weights),
        x,
        h,
        c,
        mask=mask if extra == "mask" else None,
        dropout_mask=masks[0],
        recurrent_dropout_mask=masks[1],
        return_sequences=True,
    )
    assert y.dtype == np.float32
    assert largest_step_error(y, x, weights, h, c, mask, *masks) < FLOAT32_ERROR


def test_long_sums_and_backwards() -> None:
    rng = np.random.default_rng(5)
    weights = random_weights(rng, 601, 70)
    h, c = rng.standard_normal((2, 8, 70)).astype(np.float32)
    x = rng.standard_normal((8, 5, 601)).astype(np.float32)
    y, final_h, _ = cpu.sequence(packed_cell(weights), x, h, c, go_backwards=True, return_sequences=True)
    assert largest_step_error(y, x[:, ::-1], weights, h, c, np.ones((8, 5), bool)) < FLOAT32_ERROR
    assert np.array_equal(y[:, -1], final_h)


def fma(a: Any, b: Any, c: Any) -> Any:
    """a * b + c of float32 rounded once: products of bf16 are exact in the wider type, and so nearly is the sum."""
    return (np.longdouble(a) * np.longdouble(b) + np.longdouble(c)).astype(np.float32)


def chain(x: Any, kernel: Any, block_length: int) -> Any:
    """sum of x[k] * kernel[k] in the order of docs/reliability.md."""
    total = None
    for first in range(0, len(x), block_length):
        block = np.zeros(kernel.shape[1], np.float32)
        order = np.arange(first, min(first + block_length, len(x)))
        for k in sorted(order, key=lambda k: (k // 2, -k)) if PAIRS else order:
            block = fma(x[k], kernel[k], block)
        total = block if total is None else total + block
    return total


@pytest.mark.parametrize(("input_dim", "units", "block_length"), [(3, 4, 8), (19, 16, 8), (5, 17, 512), (600, 20, 512)])
def test_the_order_of_operations(input_dim: int, units: int, block_length: int) -> None:
    if np.finfo(np.longdouble).nmant < 63:
        pytest.skip("this platform's long double cannot emulate an fma of float32 closely enough")
    rng = np.random.default_rng(units)
    weights = random_weights(rng, input_dim, units)
    h, c = rng.standard_normal((2, 1, units)).astype(np.float32)
    x = rng.standard_normal((1, 1, input_dim)).astype(np.float32)
    cell = packed_cell(weights, activation=None, recurrent_activation=None)
    _, new_h, new_c = cpu.sequence(cell, x, h, c)
    kernel, recurrent_kernel = map(to_bf16, weights[:2])
    z = (chain(operands(x[0, 0]), kernel, block_length) + weights[2]) + chain(
        operands(h[0]), recurrent_kernel, block_length
    )
    i, f, candidate, o = np.split(z, 4)
    expected_c = fma(f, c[0], i * candidate)
    assert np.array_equal(new_c[0], expected_c) and np.array_equal(new_h[0], o * expected_c)


@pytest.mark.parametrize("units", [16, 45])
@pytest.mark.parametrize("masked", [False, True])
def test_nothing_around_a_row_changes_its_bits(units: int, masked: bool) -> None:
    rng = np.random.default_rng(units)
    cell = packed_cell(random_weights(rng, 13, units))
    h, c = rng.standard_normal((2, 57, units)).astype(np.float32)
    x = rng.standard_normal((57, 8, 13)).astype(np.float32)
    mask = rng.random((57, 8)) < 0.7 if masked else None
    before = threads.get_num_threads()
    try:
        threads.set_num_threads(3)
        whole = cpu.sequence(cell, x, h, c, mask=mask, return_sequences=True)
        threads.set_num_threads(1)
        for rows in (slice(0, 1), slice(56, 57), slice(3, 7), slice(10, 33)):
            part = cpu.sequence(
                cell, x[rows], h[rows], c[rows], mask=None if mask is None else mask[rows], return_sequences=True
            )
            for ours, theirs in zip(part, whole, strict=True):
                assert ours.tobytes() == theirs[rows].tobytes()
    finally:
        threads.set_num_threads(before)


@pytest.mark.slow
def test_two_threads_share_the_units_of_a_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy, "WORK_OF_TWO", 0)
    rng = np.random.default_rng(4)
    cell = packed_cell(random_weights(rng, 9, policy.LEAST_UNITS_OF_TWO + 1))
    h, c = rng.standard_normal((2, 1, policy.LEAST_UNITS_OF_TWO + 1)).astype(np.float32)
    x = rng.standard_normal((1, 1000, 9)).astype(np.float32)
    before = threads.get_num_threads()
    found = []
    try:
        for number in (1, 2):
            threads.set_num_threads(number)
            found.append(cpu.sequence(cell, x, h, c, return_sequences=True))
    finally:
        threads.set_num_threads(before)
    assert all(np.array_equal(one, two) for one, two in zip(*found, strict=True))


def test_a_nan_stays_in_its_row_and_a_masked_one_does_not_leak() -> None:
    rng = np.random.default_rng(6)
    cell = packed_cell(random_weights(rng, 5, 19))
    h, c = rng.standard_normal((2, 9, 19)).astype(np.float32)
    x = rng.standard_normal((9, 4, 5)).astype(np.float32)
    clean, _, _ = cpu.sequence(cell, x, h, c, return_sequences=True)
    x[4, 1, 4] = np.nan
    y, _, _ = cpu.sequence(cell, x, h, c, return_sequences=True)
    others = np.arange(9) != 4
    assert np.isnan(y[4, 1:]).all() and np.array_equal(y[others], clean[others])
    mask = np.ones((9, 4), bool)
    mask[4, 1] = False
    assert np.isfinite(cpu.sequence(cell, x, h, c, mask=mask, return_sequences=True)[0]).all()


# -- through layers and models --


def layers() -> dict[str, nl.Sequential]:
    """Models whose layers go to the kernels in different ways, built for 3 features."""
    made = {
        "stack": [nl.RNN([nl.LSTMCell(7, seed=1), nl.LSTMCell(5, seed=2)]), nl.Dense(2)],
        "bidirectional": [nl.Bidirectional(nl.LSTM(6, return_sequences=True, seed=3)), nl.LSTM(20, seed=4)],
        "masked": [nl.Masking(0.0), nl.LSTM(9, zero_output_for_mask=True, return_sequences=True, seed=5)],
    }
    models = {name: nl.Sequential(parts) for name, parts in made.items()}
    for model in models.values():
        model.build((None, None, 3))
    return models


def test_the_stated_error() -> None:
    """Weights like the benchmark's, and sequences long enough for errors to grow if they do."""
    rng = np.random.default_rng(12)
    weights = random_weights(rng, 24, 64)
    x, h = rng.standard_normal((32, 100, 24)).astype(np.float32), np.zeros((32, 64), np.float32)
    y, _, _ = cpu.sequence(packed_cell(weights), x, h, h, return_sequences=True)
    truth, _, _ = naive.sequence(x, weights, recurrent_activation="sigmoid")
    assert 1e-4 < np.abs(y - truth).max() < STATED_ERROR


@pytest.mark.parametrize("name", ["stack", "bidirectional", pytest.param("masked", marks=pytest.mark.slow)])
def test_models(name: str) -> None:
    model, x = layers()[name], np.random.default_rng(7).standard_normal((11, 6, 3))
    x[3:5, 2:] = 0
    y = model(x, precision="bf16")
    assert y.dtype == np.float32
    assert 1e-5 < np.abs(y - model(x, precision="float32")).max() < STATED_ERROR
    assert np.array_equal(model.predict(x, batch_size=4, precision="bf16"), y)
    lengths = np.array([6, 1, 2, 6, 6, 3, 4, 5, 6, 6, 2])
    ragged = model.predict(x, lengths=lengths, precision="bf16")
    assert np.array_equal(ragged, model(x, mask=np.arange(6) < lengths[:, None], precision="bf16"))


@pytest.mark.slow
def test_windows_share_their_sums() -> None:
    model = nl.Sequential([nl.LSTM(18, seed=1)])
    model.build((None, None, 5))
    record = np.random.default_rng(8).standard_normal((90, 5)).astype(np.float32)
    windows = np.lib.stride_tricks.sliding_window_view(record, 9, axis=0).swapaxes(1, 2)
    shared = model.predict(record, windows=(9, 1), precision="bf16")
    assert np.array_equal(shared, model.predict(windows.copy(), precision="bf16"))
    assert 1e-5 < np.abs(shared - model.predict(windows, precision="float32")).max() < STATED_ERROR


@pytest.mark.slow
def test_states_and_dropout() -> None:
    x = np.random.default_rng(9).standard_normal((3, 6, 4)).astype(np.float32)
    options: dict[str, Any] = {"dropout": 0.5, "recurrent_dropout": 0.2, "return_state": True, "seed": 3}
    layer = nl.LSTM(6, **options)
    layer.build((None, None, 4))
    y, h, c = layer(x, precision="bf16")
    _, h1, c1 = layer(x[:, :2], precision="bf16")
    again, _, c2 = layer(x[:, 2:], initial_state=[h1, c1], precision="bf16")
    assert np.array_equal(again, y) and np.array_equal(y, h) and np.array_equal(c, c2)
    dropped = []
    for precision in ("bf16", "float32"):
        twin = nl.LSTM(6, **options)
        twin.build((None, None, 4))
        twin.set_weights(layer.get_weights())
        dropped.append(twin(x, training=True, precision=precision)[0])
    assert np.abs(dropped[0] - y).max() > STATED_ERROR
    assert 1e-5 < np.abs(dropped[0] - dropped[1]).max() < STATED_ERROR


def test_new_weights_are_packed_anew_and_float64_models_give_float32() -> None:
    x = np.random.default_rng(10).standard_normal((2, 3, 4))
    layer = nl.LSTM(5, dtype="float64", seed=1)
    before = layer(x, precision="bf16")
    assert before.dtype == np.float32 and layer.dtype == "float64"
    cell = layer.cells[0]
    assert cell.packed("bf16") is cell.packed("bf16") is not cell.packed("float32")
    layer.set_weights([2 * w for w in layer.get_weights()])
    assert not np.array_equal(layer(x, precision="bf16"), before)


def test_a_trained_model_classifies_as_well(tmp_path: Path) -> None:
    pytest.importorskip("pyfive")
    model, x = nl.load(DATA / "digits/model.h5"), np.load(DATA / "digits/x.npy")
    labels, expected = np.load(DATA / "digits/labels.npy"), np.load(DATA / "digits/y.npy")
    nl.run_npy(model, DATA / "digits/x.npy", tmp_path / "y.npy", precision="bf16", batch_rows=50)
    y = np.load(tmp_path / "y.npy")
    assert np.array_equal(y, model.predict(x, precision="bf16"))
    assert np.abs(y - expected).max() < STATED_ERROR
    assert np.count_nonzero((y.argmax(axis=1) == labels) != (expected.argmax(axis=1) == labels)) <= 1


def test_a_gpu_has_none() -> None:
    with pytest.raises(DeviceError) as info:
        checked_precision("bf16", "float32", "cuda")
    assert str(info.value) == "precision is 'bf16' on device 'cuda'; expected 'float32' or 'float64', or 'cpu'"
