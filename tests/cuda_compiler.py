"""CUDA kernels compiled with NVIDIA's compilers, which takes no GPU, and what is to be seen in the result."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numba_lstm.kernels.arguments import Cell, Masks, Options, State, Window


def ptxas() -> str | None:
    """NVIDIA's assembler: on the path, or in the packages that pip installs."""
    found = shutil.which("ptxas")
    spec = importlib.util.find_spec("nvidia")
    folders = [] if spec is None else [Path(place) for place in spec.submodule_search_locations or ()]
    return found or next((str(path) for folder in folders for path in sorted(folder.glob("*/bin/ptxas"))), None)


def is_there() -> bool:
    return importlib.util.find_spec("numba_cuda") is not None and ptxas() is not None


@dataclass(frozen=True)
class Compiled:
    """A kernel in the language of NVIDIA's assembler, and what that reports."""

    ptx: str
    report: str

    @property
    def registers(self) -> int:
        return int(re.findall(r"Used (\d+) registers", self.report)[-1])

    def complaints(self, dtype: str, ceiling: int) -> list[str]:
        """What is wrong with it: nothing, if all is well."""
        found = []
        stack = re.findall(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", self.report)
        if not stack or any(int(number) for numbers in stack for number in numbers):
            found.append(f"stack and spills: {stack}")
        if self.registers > ceiling:
            found.append(f"{self.registers} registers, more than {ceiling}")
        # Without .rn the assembler may make one operation of a product and a sum; approx and ftz are not IEEE 754's.
        for pattern in (r"\b(?:mul|add|sub)\.f(?:32|64)\b", r"\.approx|\.ftz|\.full", r"\bcall\b", r"\.local\b"):
            if lines := re.findall(rf"(?m)^.*(?:{pattern}).*$", self.ptx):
                found.append(f"{pattern}: {lines[:3]}")
        if dtype == "float32" and ".f64" in self.ptx:
            found.append("float64 in a float32 kernel")
        if generic := re.findall(r"(?m)^.*\b(?:ld|st)\.[bfsu]\d+.*$", self.ptx):
            found.append(f"memory of no known kind: {generic[:3]}")
        return found


def signature() -> Any:
    """The argument types of the kernel ``sequence``."""
    from numba import types

    def integers(kind: Any) -> Any:
        return types.NamedUniTuple(types.int64, len(kind._fields), kind)

    number, window, masks = types.int64, integers(Window), integers(Masks)
    options = types.NamedTuple((types.boolean, types.boolean, types.boolean, types.int64), Options)
    states = integers(State), number, number
    return types.void(integers(Cell), number, number, number, window, window, masks, masks, *states, window, options)


def compiled(kernel: Any, capability: tuple[int, int], folder: Path, types_of: Any = None) -> Compiled:
    """A ``@cuda.jit`` kernel for GPUs of a compute capability such as (9, 0)."""
    from numba import cuda

    ptx, _ = cuda.compile_ptx(kernel.py_func, types_of or signature(), cc=capability)
    return assembled(ptx, capability, folder)


def assembled(ptx: str, capability: Sequence[int], folder: Path) -> Compiled:
    """The assembler's report on such text."""
    path, assembler = folder / "kernel.ptx", ptxas()
    assert assembler is not None
    path.write_text(ptx)
    architecture = f"sm_{capability[0]}{capability[1]}"
    command = [assembler, "-v", f"-arch={architecture}", "-o", str(folder / "kernel.cubin"), str(path)]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return Compiled(ptx, ended.stderr)
