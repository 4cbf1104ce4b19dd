"""The CUDA kernels in numba's simulator: the CPU's bits, and as close to Keras and to the oracle as it is."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import naive
import numba
import numpy as np
import pytest
from numba.cuda.simulator import kernelapi
from support import cuda_cases, selection, simulator
from support.beside import end, start
from support.paths import ROOT, TESTS

OWN, GOLDENS = cuda_cases.own_cases(), cuda_cases.goldens()


def beside(folder: Path) -> cuda_cases.Arrays:
    """In a process of its own: what the kernels give."""
    path = folder / "results.npz"
    variables = {
        **os.environ,
        "NUMBA_ENABLE_CUDASIM": "1",
        "NUMBA_DISABLE_JIT": "1",
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(TESTS)]),
    }
    command = [sys.executable, "-W", "error", "-m", "support.cuda_cases", str(path)]
    end(start(command, variables, ROOT))
    with np.load(path) as file:
        return dict(file)


@pytest.fixture(scope="module")
def simulated(beside: cuda_cases.Arrays) -> Callable[[str], cuda_cases.Arrays]:
    """The same, by a case's name."""

    def of_case(name: str) -> cuda_cases.Arrays:
        found = {key.removeprefix(f"{name}/"): array for key, array in beside.items() if key.startswith(f"{name}/")}
        assert found, f"the simulator computed nothing for {name}"
        return found

    return of_case


def same_bits(found: cuda_cases.Arrays, expected: cuda_cases.Arrays) -> None:
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert found[name].dtype == array.dtype and found[name].shape == array.shape, name
        assert np.array_equal(np.isnan(found[name]), np.isnan(array)), name
        known = ~np.isnan(array)
        assert found[name][known].tobytes() == array[known].tobytes(), name


@pytest.mark.parametrize("name", OWN)
def test_the_bits_of_the_cpu(name: str, simulated: Callable[[str], cuda_cases.Arrays]) -> None:
    same_bits(simulated(name), OWN[name]("cpu"))


@pytest.mark.parametrize("name", GOLDENS)
def test_stored_results_of_keras(name: str, simulated: Callable[[str], cuda_cases.Arrays]) -> None:
    case = GOLDENS[name]
    found = simulated(name)
    assert selection.complaints(case, lambda: found, "float32") == []
    same_bits(found, cuda_cases.of_a_golden(case, "cpu"))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", cuda_cases.KINDS)
def test_against_the_oracle(kind: str, dtype: str, simulated: Callable[[str], cuda_cases.Arrays]) -> None:
    check_against_the_oracle(dtype, kind, "tanh", "sigmoid", simulated(f"{dtype}, {kind}"))


@pytest.mark.parametrize("kind", cuda_cases.KINDS)
def test_residents_against_the_oracle(kind: str, simulated: Callable[[str], cuda_cases.Arrays]) -> None:
    check_against_the_oracle("float32", kind, "tanh", "sigmoid", simulated(f"resident float32, {kind}"))


@pytest.mark.parametrize("name", cuda_cases.oracle_cases())
def test_masks_and_activations_over_all_units(name: str, simulated: Callable[[str], cuda_cases.Arrays]) -> None:
    dtype, kind, names = name.split(", ")
    check_against_the_oracle(dtype, kind, *names.split(" and "), simulated(name))


def test_a_chain_runs_on_the_stream_of_its_inputs(simulated: Callable[[str], cuda_cases.Arrays]) -> None:
    """Inputs come on stream 7 and a mask on 9; the results go to 7, 5, in any order, and to the default stream, 1."""
    found = simulated("order of work")
    assert found["streams"].tolist() == [7] and found["told"] == 7
    assert found["who waits for whom"].tolist() == [[9, 7], [7, 5], [7, 1]]
    assert found["waits"] == 0 and found["memory made"] == 0


def check_against_the_oracle(
    dtype: str, kind: str, activation: str, recurrent_activation: str, found: cuda_cases.Arrays
) -> None:
    given = cuda_cases.arguments(dtype, kind)
    y, h, c = naive.sequence(
        given["inputs"],
        cuda_cases.weights(3, 4, dtype),
        given["h"],
        given["c"],
        step_mask=given.get("mask"),
        go_backwards=given["go_backwards"],
        zero_output_for_mask=given["zero_output_for_mask"],
        activation=activation,
        recurrent_activation=recurrent_activation,
        mask=given.get("dropout_mask"),
        recurrent_mask=given.get("recurrent_dropout_mask"),
    )
    expected = {"y": y if given["return_sequences"] else y[:, -1], "h": h, "c": c}
    for name, array in found.items():
        distance = np.abs(array - expected[name]) / np.maximum(1, np.abs(expected[name]))
        assert np.max(distance) < (2e-6 if dtype == "float32" else 1e-14), name


def test_the_threads_of_a_simulated_block_share_an_array(monkeypatch: pytest.MonkeyPatch) -> None:
    """Though both look for it before one of them has made it."""
    monkeypatch.setattr(kernelapi.FakeCUDAShared, "array", kernelapi.FakeCUDAShared.array)
    simulator.mend()
    shared = kernelapi.FakeCUDAShared(0)

    class Late(dict[Any, Any]):
        """Tells what there is a moment later."""

        def get(self, key: Any, default: Any = None) -> Any:
            found = super().get(key, default)
            time.sleep(0.05)
            return found

    shared._allocations = Late()
    found: list[Any] = []
    threads = [threading.Thread(target=lambda: found.append(shared.array(3, numba.float32))) for _ in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found[0] is found[1]
