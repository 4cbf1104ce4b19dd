"""Kernels by name: found in the cache, or compiled once, and never taken for another one."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numba
import numpy as np
import pytest

from numba_lstm.kernel_cache import loader
from numba_lstm.kernel_cache.kernel_files import KernelFiles
from numba_lstm.kernels import compile, jit, target, working_time
from numba_lstm.kernels.arguments import ActivationCall
from numba_lstm.kernels.codes import CODES, COMMON, CUSTOM
from numba_lstm.kernels.pack import address, aligned_zeros, padded
from numba_lstm.kernels.target import FEATURES

DTYPES = (np.float32(0),) * 3
ACTIVATE = "dense.activate", DTYPES, (COMMON,)


@pytest.fixture(autouse=True)
def fresh(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[KernelFiles]:
    """An empty folder, and a process that knows no kernels."""
    monkeypatch.setenv("NUMBA_LSTM_CACHE_DIR", str(tmp_path))
    files = KernelFiles()
    monkeypatch.setattr(compile, "files", lambda: files)
    monkeypatch.setattr(compile, "_entries", {})
    yield files


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The kernels that numba is asked for."""
    names: list[str] = []
    original = jit.compile_kernel

    def watched(kernel: Any, *arguments: Any) -> Any:
        names.append(kernel.__name__)
        return original(kernel, *arguments)

    monkeypatch.setattr(jit, "compile_kernel", watched)
    return names


def relu(kernel: Callable[[int], None], code: int = CODES["relu"]) -> list[float]:
    """Three numbers after dense.activate."""
    x = aligned_zeros(padded(3, np.dtype(np.float32)), np.dtype(np.float32))
    x[:3] = -1, 0.5, 2
    record = np.array(ActivationCall(code, 0, x.size, 0, 0, address(x), address(x)), np.int64)
    kernel(address(record))
    return list(map(float, x[:3]))


def test_it_is_compiled_once_and_found_by_the_next_process(
    compiled: list[str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "numba_lstm")
    before = working_time._compiling
    assert relu(compile.entry(*ACTIVATE)) == [0, 0.5, 2]
    assert compile.entry(*ACTIVATE) is compile.entry(*ACTIVATE)
    assert compiled == ["activate"] and working_time._compiling > before
    assert [message[:24] for message in caplog.messages] == ["compiled dense.activate "]
    monkeypatch.setattr(compile, "_entries", {})  # as in another process
    assert relu(compile.entry(*ACTIVATE)) == [0, 0.5, 2]
    assert compiled == ["activate"]


def test_each_variant_is_its_own(compiled: list[str], fresh: KernelFiles) -> None:
    kernels = [compile.entry("dense.activate", DTYPES, (which,)) for which in (COMMON, True)]
    assert compiled == ["activate", "activate"] and kernels[0] is not kernels[1]
    assert relu(kernels[1], CODES["hard_shrink"]) == [-1, 0, 2]
    assert fresh.path is not None and len(list(fresh.path.glob("*.kernel"))) == 2


def test_functions_of_the_users_are_told_apart_and_not_kept(fresh: KernelFiles) -> None:
    double, half = numba.njit(lambda x: x * 2), numba.njit(lambda x: x / 2)
    kernels = [compile.entry("dense.activate", DTYPES, (function,)) for function in (double, half)]
    assert [relu(kernel, CUSTOM) for kernel in kernels] == [[-2, 1, 4], [-0.5, 0.25, 1]]
    assert compile.entry("dense.activate", DTYPES, (double,)) is kernels[0]
    assert fresh.path is not None and not list(fresh.path.glob("*.kernel"))


def test_an_error_in_a_function_of_the_users_is_raised() -> None:
    @numba.njit
    def refuses(x: float) -> float:
        if x > 1:
            raise ValueError("too much")
        return x

    with pytest.raises(ValueError, match="too much"):
        relu(compile.entry("dense.activate", DTYPES, (refuses,)), CUSTOM)


def test_code_that_calls_something_else_is_not_kept(
    fresh: KernelFiles, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "numba_lstm")
    monkeypatch.setattr(jit.EntryLibrary, "calls", lambda self: ["llvm.memset", "memset", "printf"])
    assert relu(compile.entry(*ACTIVATE)) == [0, 0.5, 2]
    assert caplog.messages[0] == "the code of dense.activate calls printf, and is not kept"
    assert fresh.path is not None and not list(fresh.path.glob("*.kernel"))


def test_code_for_another_cpu_is_left_alone(
    fresh: KernelFiles, compiled: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert relu(compile.entry(*ACTIVATE)) == [0, 0.5, 2]
    monkeypatch.setattr(compile, "_entries", {})
    monkeypatch.setattr(jit.EntryLibrary, "features", lambda self: FEATURES | {"of_next_year"})
    monkeypatch.setattr(target, "FEATURES", FEATURES - {sorted(FEATURES - {"fma"})[0]})
    assert relu(compile.entry(*ACTIVATE)) == [0, 0.5, 2]
    assert compiled == ["activate"] * 2  # the first is for a CPU with more
    monkeypatch.setattr(compile, "_entries", {})
    assert relu(compile.entry(*ACTIVATE)) == [0, 0.5, 2]
    assert compiled == ["activate"] * 3  # and so is the second
    monkeypatch.setattr(target, "FEATURES", FEATURES)
    monkeypatch.setattr(compile, "_entries", {})
    assert relu(compile.entry(*ACTIVATE)) == [0, 0.5, 2]
    assert compiled == ["activate"] * 3


def test_code_that_cannot_be_loaded_is_compiled_again(
    fresh: KernelFiles, compiled: list[str], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("numba_lstm.kernel_cache.kernel_files._logged", set())
    compile.entry(*ACTIVATE)
    monkeypatch.setattr(compile, "_entries", {})
    load, refused = loader.load, iter([True])

    def loads_later(code: bytes) -> Callable[[int], None]:
        if next(refused, False):
            raise ValueError("it has no function")
        return load(code)

    monkeypatch.setattr(loader, "load", loads_later)
    assert relu(compile.entry(*ACTIVATE)) == [0, 0.5, 2]
    assert compiled == ["activate"] * 2
    (warning,) = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert "cannot be used (it has no function) and is compiled again" in warning


def test_threads_that_want_it_at_once_have_it_compiled_once(compiled: list[str]) -> None:
    with ThreadPoolExecutor(4) as pool:
        kernels = list(pool.map(lambda _: compile.entry(*ACTIVATE), range(4)))
    assert compiled == ["activate"] and len(set(map(id, kernels))) == 1
