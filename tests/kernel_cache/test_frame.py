"""The frame around compiled code: no damage gets through."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from numba_lstm.kernel_cache import frame

KEY = b"sequence (float32, 16)"


def opens(data: bytes, key: bytes = KEY) -> bool:
    """Whether a frame is accepted."""
    try:
        frame.unwrap(data, key)
    except frame.DamagedError:
        return False
    return True


@pytest.mark.parametrize("payload", [b"", b"\0", bytes(range(256)) * 40])
def test_what_was_wrapped_comes_back(payload: bytes) -> None:
    assert bytes(frame.unwrap(frame.wrap(payload, KEY), KEY)) == payload
    assert bytes(frame.unwrap(frame.wrap(payload, b""), b"")) == payload


def test_every_bit_of_a_small_file_counts() -> None:
    good = frame.wrap(b"some machine code", KEY)
    for bit in range(8 * len(good)):
        damaged = bytearray(good)
        damaged[bit // 8] ^= 1 << bit % 8
        assert not opens(bytes(damaged)), bit


def test_sampled_bits_of_a_larger_one(rng: np.random.Generator) -> None:
    good = frame.wrap(rng.bytes(5000), KEY)
    damaged = bytearray(good)
    for bit in rng.integers(0, 8 * len(good), 20_000).tolist():
        damaged[bit // 8] ^= 1 << bit % 8
        assert not opens(bytes(damaged)), bit
        damaged[bit // 8] ^= 1 << bit % 8
    assert damaged == good and opens(bytes(damaged))


def test_every_length_but_its_own_is_refused() -> None:
    good = frame.wrap(b"some machine code", KEY)
    assert not any(opens(good[:end]) for end in range(len(good)))
    assert not any(opens(good + more) for more in (b"\0", b"\0" * 512, good, b"x"))


def test_blocks_that_are_zero_or_in_the_wrong_place(rng: np.random.Generator) -> None:
    good = frame.wrap(rng.bytes(4096), KEY)
    for start in range(0, len(good), 64):
        length = min(512, len(good) - start)
        assert not opens(good[:start] + bytes(length) + good[start + length :])
    assert not opens(good[:1024] + good[2048:3072] + good[1024:2048] + good[3072:])
    assert not opens(bytes(len(good)))


def test_a_frame_is_for_one_key() -> None:
    good = frame.wrap(b"code", KEY)
    assert not any(opens(good, key) for key in (b"", KEY[:-1], KEY + b" ", KEY.upper()))
    # The end of a key is no beginning of a payload.
    assert not opens(frame.wrap(b"bcode", b"a"), b"ab")


def test_reading_a_file_takes_no_numba() -> None:
    code = "import sys, numba_lstm.kernel_cache.kernel_files; print(sorted(sys.modules.keys() & {'numba', 'llvmlite'}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "[]\n"
