"""The selection of the device, and the errors where there is no GPU."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.running import INPUT_DIM, last_output_model

import numba_lstm as nl
from numba_lstm.backends.cuda import nvidia, selection
from numba_lstm.errors import DeviceError, MissingPackageError

X = np.zeros((2, 4, INPUT_DIM), np.float32)
OneLine = Callable[[pytest.ExceptionInfo[BaseException]], str]


@pytest.fixture
def lacking(monkeypatch: pytest.MonkeyPatch) -> Callable[[str | None], None]:
    """A function that pretends that numba-cuda is missing (None), or that the driver has a problem."""
    monkeypatch.delenv("NUMBA_ENABLE_CUDASIM", raising=False)
    monkeypatch.setattr(selection, "_found_working", [])

    def pretend(problem: str | None) -> None:
        monkeypatch.setattr(selection, "find_spec", lambda name: None if problem is None else object())
        monkeypatch.setattr(nvidia, "driver", lambda: {"problem": problem})

    return pretend


def in_every_way(folder: Path) -> dict[str, Callable[[], Any]]:
    """Every call with an argument ``device``."""
    model = last_output_model()
    np.save(folder / "x.npy", X)
    return {
        "a layer": lambda: nl.LSTM(2)(X, device="cuda"),
        "a dense layer": lambda: nl.Dense(2)(X, device="cuda"),
        "a model": lambda: model(X, device="cuda"),
        "predict": lambda: model.predict(X, device="cuda"),
        "a run": lambda: nl.run_npy(model, folder / "x.npy", folder / "y.npy", device="cuda"),
    }


@pytest.mark.parametrize("way", ["a layer", "a dense layer", "a model", "predict", "a run"])
def test_without_the_package(
    way: str, lacking: Callable[[str | None], None], tmp_path: Path, one_line: OneLine
) -> None:
    lacking(None)
    with pytest.raises(MissingPackageError) as info:
        in_every_way(tmp_path)[way]()
    assert one_line(info) == (
        "device is 'cuda', which needs the package numba-cuda; install it with: pip install 'numba_lstm[cuda]'"
    )
    assert not (tmp_path / "y.npy").exists()


def test_without_a_driver(lacking: Callable[[str | None], None], tmp_path: Path, one_line: OneLine) -> None:
    lacking("no NVIDIA GPU")
    with pytest.raises(DeviceError) as info:
        in_every_way(tmp_path)["a model"]()
    assert one_line(info).startswith("device is 'cuda', and there is no NVIDIA GPU; install NVIDIA's driver")


def test_a_gpu_that_works_is_looked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([DeviceError("no"), None])
    monkeypatch.setattr(selection, "_found_working", [])
    monkeypatch.setattr(selection, "problem", lambda: next(answers))
    with pytest.raises(DeviceError, match=r"^no$"):
        selection.resolve("cuda")
    assert [selection.resolve("cuda") for _ in range(3)] == ["cuda"] * 3


@pytest.mark.parametrize(
    "error", [AttributeError("module 'numpy' has no attribute 'row_stack'"), RuntimeError("line 1\n\0 line 2" * 99)]
)
def test_kernels_that_cannot_be_compiled(
    error: Exception, lacking: Callable[[str | None], None], monkeypatch: pytest.MonkeyPatch, one_line: OneLine
) -> None:
    """For example by incompatible packages: found before anything is computed."""
    from numba_lstm.kernels import cuda_target

    def run_trial_kernel() -> None:
        raise error

    lacking("")
    monkeypatch.setattr(nvidia, "driver", lambda: {"problem": None})
    monkeypatch.setattr(cuda_target.cuda, "is_available", lambda: True)
    monkeypatch.setattr(cuda_target, "run_trial_kernel", run_trial_kernel)
    with pytest.raises(DeviceError) as info:
        last_output_model()(X, device="cuda")
    found = one_line(info)
    assert found.startswith(
        f"device is 'cuda', and numba-cuda cannot run an empty kernel ({type(error).__name__}: {str(error)[:6]}"
    )
    assert found.endswith("); pip install 'numba_lstm[cuda]' brings packages that fit together, or use 'cpu'")
    assert len(found) < 500 and "\0" not in found


def test_no_such_device(one_line: OneLine) -> None:
    for device in ("gpu", 0, None):
        with pytest.raises(DeviceError) as info:
            selection.resolve(device)
        assert one_line(info) == f"device is {device!r}; expected 'auto', 'cpu' or 'cuda'"


def test_auto_is_the_cpu_until_a_gpu_has_been_measured(lacking: Callable[[str | None], None], tmp_path: Path) -> None:
    lacking("no NVIDIA GPU")
    model = last_output_model()
    assert np.array_equal(model.predict(X, device="auto"), model(X, device="cpu"))
    np.save(tmp_path / "x.npy", X)
    report = nl.run_npy(model, tmp_path / "x.npy", tmp_path / "y.npy")
    assert report.device == "cpu"
    assert report.device_notes == (selection.NOT_MEASURED,)
    assert nl.run_npy(model, tmp_path / "x.npy", tmp_path / "y.npy", device="cpu", force=True).device_notes == ()


def test_messages_of_the_command(tmp_path: Path) -> None:
    """In a process in which numba-cuda cannot be found."""
    model = last_output_model()
    nl.save(model, tmp_path / "model.npz")
    np.save(tmp_path / "x.npy", X)
    start = (
        "import importlib.util as u, sys; f = u.find_spec; u.find_spec = lambda n, *a: f(n, *a) if n != 'numba_cuda'"
    )
    start += " else None; from numba_lstm_cli.main import main; main()"
    words = ["run", "model.npz", "x.npy", "-o", "y.npy"]

    def run(*more: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", start, *words, *more]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)

    ended = run("--device", "cuda")
    assert ended.returncode == 1
    assert ended.stderr.startswith("Error: device is 'cuda', which needs the package numba-cuda; install it with: pip")
    assert ended.stderr.count("\n") == 1
    ended = run("--verbose")
    assert ended.returncode == 0
    assert "--device auto uses the CPU: no figures of a GPU have been measured yet" in ended.stderr


def test_no_numba_is_imported_to_choose() -> None:
    modules = (
        "sys, numba_lstm.backends.cuda.selection, numba_lstm.backends.cuda.policy, numba_lstm.backends.cuda.arrays"
    )
    command = f"import {modules}; assert not {{'numba', 'llvmlite'}} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", command], check=True)
