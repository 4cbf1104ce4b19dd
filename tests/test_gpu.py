"""On a real GPU: the CPU's bits, for new random numbers in each run, and nothing left over from what memory held."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import naive
import numpy as np
import pytest
from support import cuda_cases

import numba_lstm as nl
from numba_lstm.backends.cpu import packing
from numba_lstm.backends.cpu import run as cpu
from numba_lstm.backends.cuda import policy
from numba_lstm.backends.cuda import run as cuda
from numba_lstm.runner import RunReport

pytestmark = pytest.mark.gpu

# batch, timesteps, input_dim, units: one row, odd ones, several blocks of k, many rows, many units
SHAPES = (
    (1, 50, 3, 5),
    (3, 7, 1, 1),
    (64, 20, 130, 256),
    (129, 5, 300, 17),
    (1000, 9, 33, 65),
    (17, 3, 20, 700),
    (4096, 4, 32, 64),
    (2000, 5, 128, 128),
    (777, 6, 20, 36),
    (70, 30, 40, 16),
)
# Every tier with every shape that it takes.
TIERS = [
    (tier.name, dtype, shape)
    for tier in policy.TIERS
    for dtype in ("float32", "float64")
    for shape in SHAPES
    if tier.supports(policy.CellShape(shape[3], shape[2], dtype, False))
]
OPTIONS = ("", "mask", "mask zero backwards", "drop recurrent", "drop recurrent shared mask")


@pytest.fixture
def poisoned() -> None:
    """Fill free memory of the GPU with NaN and free it, so that numbers that a kernel does not write are NaN."""
    from numba_lstm.backends.cuda.stream import Stream

    stream = Stream()
    memory = [stream.upload(np.full(1 << 24, np.nan, np.float32)) for _ in range(8)]
    stream.synchronize()
    del memory


def cell_and_arguments(
    shape: tuple[int, ...], dtype: str, kind: str, activation: str, recurrent: str, seed: int
) -> tuple[Any, list[Any], dict[str, Any]]:
    batch, timesteps, input_dim, units = shape
    rng = np.random.default_rng(seed)

    def numbers(*size: int) -> Any:
        return rng.standard_normal(size).astype(dtype)

    weights = [
        numbers(input_dim, 4 * units) / dtype_root(input_dim, dtype),
        numbers(units, 4 * units) / dtype_root(units, dtype),
        numbers(4 * units),
    ]
    cell = packing.pack_cell(
        *weights, activation=activation, recurrent_activation=recurrent, dialect="keras3", dtype=dtype
    )
    given: dict[str, Any] = {
        "inputs": numbers(batch, timesteps, input_dim),
        "h": numbers(batch, units),
        "c": numbers(batch, units),
        "return_sequences": True,
        "go_backwards": "backwards" in kind,
        "zero_output_for_mask": "zero" in kind,
    }
    masks = 1 if "shared" in kind else 4
    if "mask" in kind:
        given["mask"] = rng.random((batch, timesteps)) < 0.7
    if "drop" in kind:
        given["dropout_mask"] = (rng.random((masks, batch, input_dim)) < 0.5).astype(dtype) * 2
        given["recurrent_dropout_mask"] = (rng.random((masks, batch, units)) < 0.5).astype(dtype) * 2
    return cell, weights, given


def dtype_root(number: int, dtype: str) -> Any:
    return np.sqrt(np.dtype(dtype).type(number))


@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize("kind", OPTIONS)
@pytest.mark.parametrize(("tier", "dtype", "shape"), TIERS, ids=str)
def test_the_bits_of_the_cpu(tier: str, dtype: str, shape: tuple[int, ...], kind: str) -> None:
    seed = secrets.randbits(32)
    cell, weights, given = cell_and_arguments(shape, dtype, kind, "tanh", "sigmoid", seed)
    with cuda_cases.forced(tier):
        y, h, c = cuda.sequence(cell, **given)
    found, expected = (y.copy_to_host(), h, c), cpu.sequence(cell, **given)
    truth = naive.sequence(
        given["inputs"],
        weights,
        given["h"],
        given["c"],
        step_mask=given.get("mask"),
        go_backwards=given["go_backwards"],
        zero_output_for_mask=given["zero_output_for_mask"],
        recurrent_activation="sigmoid",
        mask=given.get("dropout_mask"),
        recurrent_mask=given.get("recurrent_dropout_mask"),
    )
    tolerance = 2e-5 if dtype == "float32" else 1e-13
    for array, same, exact in zip(found, expected, truth, strict=True):
        assert np.max(np.abs(array - exact) / np.maximum(1, np.abs(exact))) < tolerance, f"seed {seed}"
        assert array.tobytes() == same.tobytes(), f"seed {seed}: {np.count_nonzero(array != same)} of {array.size}"


@pytest.mark.parametrize("name", cuda_cases.own_cases())
def test_cases_of_the_simulator(name: str) -> None:
    case = cuda_cases.own_cases()[name]
    found, expected = case("cuda"), case("cpu")
    assert found.keys() == expected.keys()
    for part, array in expected.items():
        assert np.array_equal(found[part], array, equal_nan=True), part


@pytest.mark.parametrize("name", cuda_cases.goldens())
def test_stored_cases_of_keras(name: str) -> None:
    case = cuda_cases.golden_cases()[name]
    found, expected = case("cuda"), case("cpu")
    for part, array in expected.items():
        assert np.array_equal(found[part], array, equal_nan=True), part


# rows, timesteps, input_dim, units; and options of a run
RUNS = (
    ((5000, 20, 8, 32), {}),
    ((5000, 20, 8, 32), {"batch_rows": 97}),
    ((5000, 20, 8, 32), {"batch_rows": 1000, "last_only": True}),
    ((3000, 7, 33, 65), {"mask": "mask.npy", "batch_rows": 256, "max_memory": 64 << 30}),
    ((3000, 7, 33, 65), {"training": True, "seed": 3, "batch_rows": 700}),
    ((1, 4000, 5, 16), {"window": 50, "batch_rows": 512}),
)


def a_run(folder: Path, shape: tuple[int, ...]) -> Callable[..., RunReport]:
    """Writes the inputs and makes a model; gives what runs it."""
    rows, timesteps, input_dim, units = shape
    rng = np.random.default_rng(secrets.randbits(32))
    x = rng.standard_normal((rows, timesteps, input_dim)).astype(np.float32)
    np.save(folder / "x.npy", x[0] if rows == 1 else x)
    np.save(folder / "mask.npy", rng.random((rows, timesteps)) < 0.8)
    first = nl.LSTM(units, return_sequences=True, dropout=0.2, recurrent_dropout=0.1, seed=1)
    model = nl.Sequential([first, nl.LSTM(units, return_sequences=True, seed=2), nl.Dense(3)])
    model.reseed(4)
    model.build((None, None, input_dim))

    def run(device: str, **options: Any) -> RunReport:
        if "mask" in options:
            options["mask"] = folder / options["mask"]
        states = folder / f"{device}.states.npy"
        return nl.run_npy(
            model, folder / "x.npy", folder / f"{device}.npy", device=device, final_state=states, force=True, **options
        )

    return run


def same_files(folder: Path) -> None:
    for name in ("", ".states"):
        assert (folder / f"cuda{name}.npy").read_bytes() == (folder / f"cpu{name}.npy").read_bytes()


@pytest.mark.usefixtures("poisoned")
@pytest.mark.parametrize(("shape", "options"), RUNS, ids=str)
def test_runs(shape: tuple[int, ...], options: dict[str, Any], tmp_path: Path) -> None:
    """Many chunks on streams that overlap, and the CPU's file, byte for byte."""
    run = a_run(tmp_path, shape)
    run("cpu", **options)
    for _ in range(3):
        report = run("cuda", **options)
        same_files(tmp_path)
    assert report.notes == ()
    assert report.device_notes[1].startswith("GPUs: 0 (")


def test_a_run_where_memory_is_short(tmp_path: Path) -> None:
    """All but a little of the first GPU's memory is taken: chunks are halved, a note says so, and no bit changes."""
    from numba_lstm.backends.cuda.stream import Stream, free_memory

    run = a_run(tmp_path, (40_000, 50, 16, 64))
    run("cpu")
    stream, dtype = Stream(), np.dtype(np.uint8)
    run("cuda", rows=(0, 100))  # compiles the kernels, which takes memory too
    filling = stream.empty(free_memory(0) - (256 << 20), dtype)
    report = run("cuda", batch_rows=40_000)
    same_files(tmp_path)
    assert filling.size
    assert any("rows at a time instead of a whole chunk" in note for note in report.notes)


def test_memory_of_a_gpu_is_given_back(tmp_path: Path) -> None:
    from numba_lstm.backends.cuda.stream import free_memory

    run = a_run(tmp_path, (5000, 20, 8, 32))
    run("cuda")
    before = free_memory(0)
    for _ in range(5):
        run("cuda")
    assert free_memory(0) > before - (64 << 20)
