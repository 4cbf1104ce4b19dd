"""Two threads that share the units of a few rows: the same bits, even if the helper comes late or never."""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import naive
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from numba_lstm.backends.cpu import packing, policy, run, threads
from numba_lstm.backends.cpu.operands import SequenceOperands
from numba_lstm.kernels.arguments import Cell, Masks, Options, Scratch, State, Team, Window

BEFORE_TEAM = Cell, Window, Window, Window, Masks, Masks, State, Window, Options, Scratch
LEADS = 3 + sum(len(part._fields) for part in BEFORE_TEAM) + Team._fields.index("leads")  # in the record of a call


class Shares(list[int]):
    """In how many steps both threads took part, call by call."""


@pytest.fixture
def shares(monkeypatch: pytest.MonkeyPatch) -> Iterator[Shares]:
    """Two threads share every call that they can; what came of it."""
    found = Shares()

    kernel_of = SequenceOperands.kernel

    def observed(self: SequenceOperands, cell: Any, scratch: Any, shared: bool = False) -> Any:
        kernel = kernel_of(self, cell, scratch, shared)

        def call(address: int) -> int:
            taken = kernel(address)
            if shared and ctypes.c_int64.from_address(address + LEADS * 8).value:
                found.append(taken)
            return taken

        return call

    monkeypatch.setattr(SequenceOperands, "kernel", observed)
    monkeypatch.setattr(policy, "LEAST_UNITS_OF_TWO", 33)
    monkeypatch.setattr(policy, "WORK_OF_TWO", 0)
    before = threads.get_num_threads()
    threads.set_num_threads(2)
    yield found
    threads.set_num_threads(before)


def problem(seed: int, batch: int, timesteps: int, input_dim: int, units: int, dtype: str, **options: Any) -> Any:
    rng = np.random.default_rng(seed)
    kernel = (rng.standard_normal((input_dim, 4 * units)) / np.sqrt(input_dim)).astype(dtype)
    recurrent_kernel = (rng.standard_normal((units, 4 * units)) / np.sqrt(units)).astype(dtype)
    bias = rng.standard_normal(4 * units).astype(dtype)
    options = {"activation": "tanh", "recurrent_activation": "sigmoid", "dialect": "keras3", **options}
    cell = packing.pack_cell(kernel, recurrent_kernel, bias, dtype=dtype, **options)
    x = rng.standard_normal((batch, timesteps, input_dim)).astype(dtype)
    h, c = rng.standard_normal((2, batch, units)).astype(dtype)
    return rng, cell, (kernel, recurrent_kernel, bias), x, h, c


def on_one_thread(*arguments: Any, **options: Any) -> Any:
    threads.set_num_threads(1)
    try:
        return run.sequence(*arguments, **options)
    finally:
        threads.set_num_threads(2)


def same(results: Any, others: Any) -> None:
    for result, other in zip(results, others, strict=True):
        np.testing.assert_array_equal(result, other)


MORE = [pytest.param(*one, marks=pytest.mark.slow) for one in ((4, "float32"), (1, "float64"))]


@pytest.mark.parametrize(("batch", "dtype"), [(1, "float32"), (8, "float32"), *MORE])
def test_both_take_part_and_the_bits_are_the_same(shares: Shares, batch: int, dtype: str) -> None:
    _, cell, weights, x, h, c = problem(batch, batch, 3000, 9, 40, dtype)
    found = run.sequence(cell, x, h, c, return_sequences=True)
    assert len(shares) == 1
    same(found, on_one_thread(cell, x, h, c, return_sequences=True))
    expected = naive.sequence(x[:, :50], weights, h, c, recurrent_activation="sigmoid")
    np.testing.assert_allclose(found[0][:, :50], expected[0], rtol=0, atol=5e-6 if dtype == "float32" else 1e-13)


OPTIONS = st.fixed_dictionaries(
    {
        "mask": st.sampled_from([None, "holes", "lengths"]),
        "dropout": st.sampled_from([0, 1, 4]),
        "recurrent_dropout": st.sampled_from([0, 1, 4]),
        "go_backwards": st.booleans(),
        "return_sequences": st.booleans(),
        "zero_output_for_mask": st.booleans(),
    }
)


def check_that_bits_stay(patience: int, seed: int, batch: int, units: int, options: dict[str, Any]) -> None:
    """Any options, and a helper that comes and goes: with little patience the threads lose each other in every way."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("LEAST_UNITS_OF_TWO", 33), ("WORK_OF_TWO", 0), ("PATIENCE", patience)):
            patch.setattr(policy, name, value)
        threads.set_num_threads(2)
        rng, cell, _, x, h, c = problem(seed, batch, 400, 5, units, "float32")
        given_options: dict[str, Any] = dict(options)
        if options["mask"] is not None:
            mask = rng.random(x.shape[:2]) < 0.8
            if options["mask"] == "lengths":
                mask = np.arange(x.shape[1]) < np.sort(rng.integers(0, x.shape[1] + 1, batch))[::-1, np.newaxis]
            given_options["mask"] = mask
        for name, width in (("dropout", x.shape[2]), ("recurrent_dropout", units)):
            number = given_options.pop(name)
            if number:
                given_options[name + "_mask"] = (rng.random((number, batch, width)) < 0.8).astype(np.float32) / 0.8
        expected = on_one_thread(cell, x, h, c, **given_options)
        for _ in range(10):
            same(run.sequence(cell, x, h, c, **given_options), expected)


PROBLEMS = {
    "patience": st.sampled_from([0, 1, 10, 30, 2000]),
    "seed": st.integers(0, 2**32 - 1),
    "batch": st.integers(1, 11),
    "units": st.sampled_from([33, 40, 64, 100]),
    "options": OPTIONS,
}


@settings(max_examples=60)
@given(**PROBLEMS)
def test_options_and_a_helper_that_comes_and_goes(**chosen: Any) -> None:
    check_that_bits_stay(**chosen)


@pytest.mark.slow
@settings(max_examples=5000)
@given(**PROBLEMS)
def test_many_more_of_them(**chosen: Any) -> None:
    check_that_bits_stay(**chosen)


def test_several_python_threads_at_once(shares: Shares) -> None:
    problems = [problem(seed, 1 + seed % 3, 300, 7, 48, "float32")[1:] for seed in range(8)]
    calls = [(cell, x, h, c) for cell, _, x, h, c in problems]
    expected = [on_one_thread(*call) for call in calls]
    barrier = threading.Barrier(4)

    def work(number: int) -> Any:
        barrier.wait()
        return [run.sequence(*call) for call in calls[number::4]]

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(work, range(4)))
    for number in range(4):
        for result, other in zip(found[number], expected[number::4], strict=True):
            same(result, other)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform does not fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_after_a_fork(shares: Shares) -> None:
    _, cell, _, x, h, c = problem(0, 1, 300, 7, 48, "float32")
    expected = run.sequence(cell, x, h, c)
    child = os.fork()
    if child == 0:
        status = 1
        try:
            same(run.sequence(cell, x, h, c), expected)
            status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_the_helper_leaves_results_alone_afterwards(shares: Shares) -> None:
    """It may outlast the call by a moment; nothing that the caller has by then changes any more."""
    _, cell, _, x, h, c = problem(1, 2, 500, 7, 64, "float32")
    for _ in range(20):
        outputs, last_h, last_c = run.sequence(cell, x, h, c, return_sequences=True)
        for array in (outputs, last_h, last_c):
            array[...] = 7.0
        run.sequence(cell, x[:, :5], h, c)
        assert all((array == 7.0).all() for array in (outputs, last_h, last_c))
