"""Facts about the machine: the CPU, a container's share of it, packages, and NVIDIA's driver."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path
from typing import Any

import pytest

from numba_lstm import machine
from numba_lstm.backends.cuda import nvidia


def test_the_cpu() -> None:
    found = machine.cpu()
    assert found["name"] and 1 <= found["cpus"] <= found["of"] == os.cpu_count()


@pytest.mark.parametrize(
    ("files", "cpus"),
    [
        ({}, None),
        ({"cpu.max": "150000 100000\n"}, 1.5),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "400000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 4.0),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
    ],
)
def test_a_containers_share(
    files: dict[str, str], cpus: float | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    monkeypatch.setattr(machine, "CGROUP", tmp_path)
    assert machine.cpu_time() == cpus


def test_versions_of_what_is_installed() -> None:
    found = machine.versions(["numpy", "no-such-package"])
    assert set(found) == {"python", "numpy"}


def test_extras_are_those_of_the_project() -> None:
    found = machine.extras("numba_lstm")
    assert found["h5"] == ["pyfive", "h5py"]
    assert found["cuda"] == ["numba-cuda", "numpy"]
    assert machine.extras("no-such-package") == {}


@pytest.mark.parametrize("text", ["numpy", "numpy>=2.0", " numpy[all] (>=2)", "numpy~=2.0; python_version > '3'"])
def test_names_of_requirements(text: str) -> None:
    assert machine.name_of(text) == "numpy"


class Driver:
    """libcuda as far as it is asked."""

    def __init__(self, devices: int, code: int = 0) -> None:
        self.devices, self.code = devices, code

    def cuInit(self, flags: int) -> int:  # noqa: N802
        return self.code

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any) -> int:
            if name == "cuDriverGetVersion":
                arguments[0]._obj.value = 13020
            elif name == "cuDeviceGetCount":
                arguments[0]._obj.value = self.devices
            elif name == "cuDeviceGetName":
                arguments[0].value = b"A card"
            elif name == "cuDeviceTotalMem_v2":
                arguments[0]._obj.value = 2**33
            elif name == "cuDeviceGetAttribute":
                arguments[0]._obj.value = 9 if arguments[1] == 75 else 0
            return 0

        return call


@pytest.mark.parametrize(
    ("library", "problem"),
    [
        (Driver(1), None),
        (Driver(0), "no NVIDIA GPU"),
        (Driver(0, 100), "no NVIDIA GPU"),
        (Driver(0, 804), "NVIDIA's driver does not start (error 804)"),
    ],
)
def test_the_driver(library: Driver, problem: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: library)
    found = nvidia.driver()
    assert found["problem"] == problem
    if problem is None:
        assert found["version"] == "13.2"
        assert found["devices"] == [{"name": "A card", "compute_capability": "9.0", "memory": 2**33}]


def test_no_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> Any:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(ctypes, "CDLL", missing)
    found = nvidia.driver()
    assert found["devices"] == [] and found["version"] is None
    assert found["problem"].startswith("no NVIDIA driver (") and found["problem"].endswith(" is not there)")
