"""Machine code made callable without numba, and what is no such code."""

from __future__ import annotations

import ctypes
import subprocess
import sys

import llvmlite.binding as llvm
import pytest

from numba_lstm.kernel_cache import loader

CODE = """
declare i64 @PyLong_AsLongLong(POINTER)
declare void @Py_IncRef(POINTER)
define POINTER @"NAME"(POINTER %self, POINTER %argument) {
  %none = icmp eq POINTER %argument, null
  %taken = select i1 %none, POINTER %self, POINTER %argument
  %address = call i64 @PyLong_AsLongLong(POINTER %taken)
  call void @Py_IncRef(POINTER %taken)
  %place = inttoptr i64 %address to NUMBERS
  %number = load i64, NUMBERS %place
  %more = add i64 %number, ADDED
  store i64 %more, NUMBERS %place
  ret POINTER %taken
}
"""
TYPED = llvm.llvm_version_info[0] < 17  # which has pointers to something only
for word, kind in (("POINTER", "i8*"), ("NUMBERS", "i64*")):
    CODE = CODE.replace(word, kind if TYPED else "ptr")


def object_code(name: str = loader.ENTRY, added: int = 1) -> bytes:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_default_triple().create_target_machine(jit=True)
    module = llvm.parse_assembly(CODE.replace("NAME", name).replace("ADDED", str(added)))
    return bytes(machine.emit_object(module))


def test_each_code_has_the_one_symbol_and_is_its_own() -> None:
    number = ctypes.c_int64(5)
    for added in 1, 10:
        loader.load(object_code(added=added))(ctypes.addressof(number))
    assert number.value == 16


def test_an_address_can_be_bound() -> None:
    number = ctypes.c_int64(5)
    place = ctypes.addressof(number)
    call = loader.bound(loader.load(object_code()), place)
    before = sys.getrefcount(place)
    for _ in range(100):
        call()
    assert number.value == 105 and sys.getrefcount(place) == before
    seen: list[int] = []
    loader.bound(seen.append, 7)()  # a function of any other kind
    assert seen == [7]


def test_code_without_the_symbol_is_refused() -> None:
    with pytest.raises(ValueError, match=f"it has no function {loader.ENTRY}"):
        loader.load(object_code("another"))


def test_it_takes_no_numba() -> None:
    program = "import sys; from numba_lstm.kernel_cache.loader import triple; triple(); print('numba' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
