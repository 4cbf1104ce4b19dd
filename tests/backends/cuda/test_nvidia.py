"""Queries of NVIDIA's driver; its report is tested in tests/test_machine.py."""

from __future__ import annotations

import ctypes
from types import SimpleNamespace
from typing import Any

import pytest

from numba_lstm.backends.cuda import nvidia


@pytest.mark.parametrize(("code", "expected"), [(0, 3), (1, 0)])
def test_the_gpu_with_an_address(code: int, expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the driver does not know the address, it is the first GPU."""

    def query(number: Any, attribute: int, address: ctypes.c_uint64) -> int:
        assert (attribute, address.value) == (9, 1 << 40)
        number._obj.value = 3
        return code

    monkeypatch.setattr(ctypes, "CDLL", lambda name: SimpleNamespace(cuPointerGetAttribute=query))
    assert nvidia.gpu_number_of(1 << 40) == expected
