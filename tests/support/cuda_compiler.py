"""CUDA kernels compiled with NVIDIA's compilers, which takes no GPU, and what is to be seen in the result."""

from __future__ import annotations

import importlib.util
import re
import shutil
import struct
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

from numba_lstm.kernels.arguments import Cell, Masks, Options, State, Window
from numba_lstm.kernels.cuda_arguments import CudaCall


def ptxas() -> str | None:
    """NVIDIA's assembler: on the path, or in the packages that pip installs."""
    found = shutil.which("ptxas")
    spec = importlib.util.find_spec("nvidia")
    folders = [] if spec is None else [Path(place) for place in spec.submodule_search_locations or ()]
    return found or next((str(path) for folder in folders for path in sorted(folder.glob("*/bin/ptxas"))), None)


def is_there() -> bool:
    return importlib.util.find_spec("numba_cuda") is not None and ptxas() is not None


# Operations of the machine's code, by the bits of an instruction that tell them with any operands; a name and
# what PTX calls it where it is rounded once. A division and a square root are some of these, so there may be more.
OPERATIONS = {
    0x23: ("FFMA", "fma.rn.f32"),
    0x20: ("FMUL", "mul.rn.f32"),
    0x21: ("FADD", "add.rn.f32"),
    0x2B: ("DFMA", "fma.rn.f64"),
    0x28: ("DMUL", "mul.rn.f64"),
    0x29: ("DADD", "add.rn.f64"),
}


def operations(cubin: bytes) -> Counter[str]:
    """How often each of `OPERATIONS` stands in linked code: an ELF file, 16 bytes an instruction in sections .text."""
    (table,) = struct.unpack_from("<Q", cubin, 0x28)
    size, number, of_names = struct.unpack_from("<HHH", cubin, 0x3A)
    sections = [struct.unpack_from("<IIQQQQ", cubin, table + size * n) for n in range(number)]
    found = Counter[str]()
    for name, _, _, _, start, length in sections:
        if cubin.startswith(b".text", sections[of_names][4] + name):
            for at in range(start, start + length, 16):
                (bits,) = struct.unpack_from("<H", cubin, at)
                found[OPERATIONS.get(bits & 0x1FF, ("others",))[0]] += 1
    return found


@dataclass(frozen=True)
class Compiled:
    """A kernel in the language of NVIDIA's assembler, what that reports, and the machine's code that a launch loads."""

    ptx: str
    report: str
    cubin: bytes = b""

    @property
    def registers(self) -> int:
        return int(re.findall(r"Used (\d+) registers", self.report)[-1])

    def complaints(self, dtype: str, ceiling: int) -> list[str]:
        """The problems of the kernel: none, if all is well."""
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
        linked = operations(self.cubin) if self.cubin else Counter[str]()
        for name, in_ptx in OPERATIONS.values() if linked else ():
            written = len(re.findall(rf"\b{re.escape(in_ptx)}\b", self.ptx))
            # Of these a division in float32 has none of its own, and a square root five at most.
            most = written + 5 * len(re.findall(r"\bsqrt\.rn\.f32\b", self.ptx))
            if linked[name] < written or (name == "FMUL" and dtype == "float32" and linked[name] > most):
                found.append(f"linked code has {linked[name]} {name} for {written} {in_ptx}: contracted")
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
    rows, scratch = (number, number, number), (number, number)
    read = integers(Cell), window, window, masks, masks
    return types.void(types.NamedTuple((*rows, *read, integers(State), *scratch, window, options), CudaCall))


@contextmanager
def device(capability: tuple[int, int]) -> Iterator[None]:
    """A stand-in for the GPU that numba asks when it compiles and links for one."""
    from numba.cuda import codegen, dispatcher

    here = SimpleNamespace(compute_capability=capability)
    with (
        mock.patch.object(dispatcher, "get_current_device", lambda: here),
        mock.patch.object(codegen.devices, "get_context", lambda: SimpleNamespace(device=here)),
    ):
        yield


def compiled(kernel: Any, capability: tuple[int, int], folder: Path, types_of: Any = None) -> Compiled:
    """A kernel of ours for GPUs of a compute capability such as (9, 0)."""
    assert kernel.targetoptions["lto"] is False
    return built(kernel, capability, folder, types_of)


def built(kernel: Any, capability: tuple[int, int], folder: Path, types_of: Any = None) -> Compiled:
    """A ``@cuda.jit`` kernel, compiled and linked as its first launch on such a GPU does."""
    from numba.core.sigutils import normalize_signature
    from numba.cuda.dispatcher import _Kernel

    arguments, _ = normalize_signature(types_of or signature())
    with device(capability):
        library = _Kernel(kernel.py_func, arguments, **kernel.targetoptions)._codelibrary
        ptx, cubin = library.get_asm_str(), library.get_cubin().code
    return Compiled(ptx, assembled(ptx, folder), cubin)


def assembled(ptx: str, folder: Path) -> str:
    """The assembler's report on such text."""
    path, assembler = folder / "kernel.ptx", ptxas()
    assert assembler is not None
    path.write_text(ptx)
    (architecture,) = re.findall(r"(?m)^\.target (\w+)", ptx)
    command = [assembler, "-v", f"-arch={architecture}", "-o", str(folder / "kernel.cubin"), str(path)]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    return ended.stderr
