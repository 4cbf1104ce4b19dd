"""Kernels compiled in processes of their own, for this CPU and for one with AVX2, and what their code is like."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

import llvmlite.binding as llvm
import numpy as np
import pytest

from numba_lstm.kernels import jit, target
from support import assembly
from support import beside as processes
from support.paths import ROOT, TESTS

# What every CPU with AVX2 and FMA has, in full: with the name alone numba keeps the features of this machine.
AVX2 = {
    "NUMBA_CPU_NAME": "haswell",
    "NUMBA_CPU_FEATURES": "+64bit,+avx,+avx2,+bmi,+bmi2,+cmov,+crc32,+cx16,+cx8,+f16c,+fma,+fsgsbase,+fxsr,+lzcnt,"
    "+mmx,+movbe,+pclmul,+popcnt,+sahf,+sse,+sse2,+sse3,+sse4.1,+sse4.2,+ssse3,+xsave,+xsaveopt",
}


def write(folder: str, arrays: dict[str, Any]) -> None:
    """For Build to read, with the machine code and LLVM code of all that was compiled."""
    arrays["bits of a vector"] = np.array(target.VECTOR_BITS)
    np.savez(Path(folder) / "results.npz", **arrays)
    for number, (code, machine_code) in enumerate(_listings):
        (Path(folder) / f"{number}.ll").write_text(code)
        (Path(folder) / f"{number}.s").write_text(machine_code)


_listings: list[tuple[str, str]] = []
_compiled = jit.compile_kernel


def watch() -> None:
    """Have every cpu.sequence that is compiled from now on written down by `write`."""

    def compiled(kernel: Any, dtypes: Any, variant: Any) -> jit.EntryLibrary:
        library = _compiled(kernel, dtypes, variant)
        if kernel.__name__ == "sequence":
            # Of a copy: making machine code changes the module, and it is made of the module once more.
            module = library._final_module.clone()
            _listings.append((library.get_llvm_str(), library._codegen._tm.emit_assembly(module)))
        return library

    jit.compile_kernel = compiled


class Build:
    """The findings of a process that compiled for one kind of CPU: as many kernels as kinds, by save() of a module."""

    def __init__(self, folder: Path, environment: dict[str, str], everything: bool, kinds: int, module: str) -> None:
        self.folder, self.kinds = folder, kinds
        variables = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(TESTS)]),
            "NUMBA_LSTM_CACHE_DIR": str(folder / "cache"),
            **environment,
        }
        variables.pop("NUMBA_DISABLE_JIT", None)
        program = (
            f"from support import builds; builds.watch(); import {module}; {module}.save({str(folder)!r}, {everything})"
        )
        command = [sys.executable, "-c", program]
        self.process = processes.start(command, variables, ROOT)

    def read(self) -> Build:
        """Wait for it."""
        processes.end(self.process)
        with np.load(self.folder / "results.npz") as file:
            self.arrays = dict(file)
        self.vector_bits = int(self.arrays.pop("bits of a vector"))
        return self

    def texts(self, ending: str) -> list[str]:
        found = [path.read_text() for path in sorted(self.folder.glob(f"*.{ending}"))]
        assert len(found) == self.kinds
        return found


def built(folder: Path, everything: bool, kinds: int, module: str) -> list[Build]:
    """Builds for this machine and, where it has AVX2, for that, side by side."""
    features = llvm.get_host_cpu_features()
    environments: list[dict[str, str]] = [{}]
    if features.get("avx2") and features.get("fma"):
        environments.append(AVX2)
    folders = [folder / str(number) for number in range(len(environments))]
    for each in folders:
        each.mkdir()
    started = [
        Build(each, chosen, everything, kinds, module) for each, chosen in zip(folders, environments, strict=True)
    ]
    return [build.read() for build in started]


def check_loops(texts: list[str], rows: int) -> None:
    """No inner product moves sums through the stack; tiles of `rows` rows are among them, and one row's two blocks."""
    most = {}
    for text in texts:
        for loop in assembly.product_loops(text):
            assert not loop.spills, f"{loop.function}: {loop.spills}"
            name = next(name for name in ("project", "sequence", loop.function) if name in loop.function)
            most[name] = max(most.get(name, 0), loop.fmas)
    assert most["project"] >= 4 * rows, most
    assert most["sequence"] >= 8, most


def on_aarch64(avx2: Build) -> list[str]:
    """The machine code for an ARM processor."""
    llvm.initialize_all_targets()
    llvm.initialize_all_asmprinters()
    triple = "aarch64-unknown-linux-gnu"
    try:
        target = llvm.Target.from_triple(triple)
    except RuntimeError:
        pytest.skip("this build of LLVM cannot compile for aarch64")
    machine = target.create_target_machine(cpu="neoverse-n1", opt=3)
    texts = []
    for code in avx2.texts("ll"):
        code = re.sub(r"(?m)^target triple = .*$", f'target triple = "{triple}"', code)
        code = re.sub(r"(?m)^target datalayout = .*$", f'target datalayout = "{machine.target_data}"', code)
        texts.append(machine.emit_assembly(llvm.parse_assembly(code)))
    return texts
