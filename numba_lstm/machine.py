"""The machine: its CPU, this process's share of it, and the installed packages. No host names."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path
from typing import Any

from numba_lstm.backends.cpu.threads import available_cpus

CGROUP = Path("/sys/fs/cgroup")


def cpu() -> dict[str, Any]:
    """The CPU's name, family and model, the number of CPUs, and the number that this process may use."""
    fields: dict[str, str] = {}
    for line in _lines(Path("/proc/cpuinfo")):
        name, _, value = line.partition(":")
        fields.setdefault(name.strip(), value.strip())
    name = fields.get("model name") or platform.processor() or platform.machine()
    kind = " ".join(f"{key.split()[-1]} {fields[key]}" for key in ("cpu family", "model") if key in fields)
    return {"name": name, "kind": kind, "cpus": available_cpus(), "of": os.cpu_count()}


def cpu_time() -> float | None:
    """CPUs' worth of time that a container grants this process (its cgroup's quota); None where none is set."""
    for names in ("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us"):  # version 2 and version 1
        numbers = " ".join(line for name in names for line in _lines(CGROUP / name)).split()
        if len(numbers) == 2 and numbers[0].isdigit() and int(numbers[1]):
            return int(numbers[0]) / int(numbers[1])
    return None


def _lines(path: Path) -> list[str]:
    """The lines of a file of the system, none where there is no such file."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


def versions(packages: Iterable[str]) -> dict[str, str]:
    """Versions of those that are installed, Python's among them."""
    found = {"python": platform.python_version()}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def extras(package: str) -> dict[str, list[str]]:
    """The extras of an installed package and the requirements of each; none if pip did not install it."""
    try:
        found = distribution(package)
    except PackageNotFoundError:
        return {}
    asked: dict[str, list[str]] = {name: [] for name in found.metadata.get_all("Provides-Extra") or []}
    for line in found.requires or []:
        requirement, _, marker = line.partition(";")
        extra = re.search(r"extra\s*==\s*[\"']([^\"']+)[\"']", marker)
        if extra and extra[1] in asked:
            asked[extra[1]].append(name_of(requirement))
    return asked


def name_of(requirement: str) -> str:
    """numpy of "numpy>=2.0" and of "numpy[extra]>=2.0 ; marker"."""
    found = re.match(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)", requirement)
    return found[1] if found else requirement
