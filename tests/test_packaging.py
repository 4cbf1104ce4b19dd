"""The package as it is installed: names, metadata, and what an import costs."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import pytest
from support.paths import ROOT

import numba_lstm


@pytest.fixture(scope="module")
def project() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def python(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run code in a new interpreter that sees what is installed and nothing of the folder or the environment."""
    return subprocess.run([sys.executable, "-I", "-c", code], cwd=folder, capture_output=True, text=True, timeout=60)


def test_every_folder_with_code_is_installed(project: dict[str, Any]) -> None:
    inside = {".".join(path.parent.relative_to(ROOT).parts) for path in (ROOT / "numba_lstm").rglob("__init__.py")}
    assert set(project["tool"]["setuptools"]["packages"]) == inside | {"numba_lstm_cli"}
    assert not list((ROOT / "cli").glob("*/*.py")), "cli/ has a subpackage that is not installed"


def test_no_common_name_is_installed(tmp_path: Path) -> None:
    assert set((distribution("numba_lstm").read_text("top_level.txt") or "").split()) == {
        "numba_lstm",
        "numba_lstm_cli",
    }
    for name in ("cli", "data", "tests", "benchmarks"):
        done = python(f"import importlib.util, sys; sys.exit(importlib.util.find_spec({name!r}) is not None)", tmp_path)
        assert done.returncode == 0, f"a package {name!r} can be imported"


def test_the_command_is_installed() -> None:
    (script,) = distribution("numba_lstm").entry_points.select(group="console_scripts")
    assert (script.name, script.value) == ("numba-lstm", "numba_lstm_cli.start:main")
    assert callable(script.load())


def test_required_packages_are_three(project: dict[str, Any]) -> None:
    names = [re.split(r"[^\w-]", requirement)[0] for requirement in project["project"]["dependencies"]]
    assert names == ["numba", "numpy", "click"]
    assert set(project["project"]["optional-dependencies"]) == {
        *("h5", "safetensors", "onnx", "cuda", "dask", "plot", "all", "test", "dev")
    }


def test_one_version(project: dict[str, Any]) -> None:
    version = project["project"]["version"]
    assert distribution("numba_lstm").version == numba_lstm.__version__ == version
    assert f"## {version} " in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_import_loads_no_numba_and_no_extra(tmp_path: Path) -> None:
    heavy = ["numba", "llvmlite", "pyfive", "h5py", "click"]
    done = python(f"import sys, numba_lstm; print([n for n in {heavy} if n in sys.modules])", tmp_path)
    assert done.stdout.strip() == "[]", done.stderr


def test_help_loads_no_numba(tmp_path: Path) -> None:
    code = (
        "import sys, atexit; atexit.register(lambda: print('numba' in sys.modules, file=sys.stderr));"
        "sys.argv = ['numba-lstm', '--help']; from numba_lstm_cli.main import main; main()"
    )
    done = python(code, tmp_path)
    assert done.returncode == 0 and "Usage" in done.stdout
    assert done.stderr.strip() == "False"


def test_types_are_shipped(tmp_path: Path) -> None:
    done = python(
        "import numba_lstm, pathlib; print(pathlib.Path(numba_lstm.__file__).with_name('py.typed'))", tmp_path
    )
    assert Path(done.stdout.strip()).is_file(), done.stderr
