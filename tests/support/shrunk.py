"""Small inputs that go every way of large ones: work is cut, and shared among threads, as if there were much of it."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from numba_lstm.backends.cpu import policy, ragged, threads

_with_help = threads.with_help


def with_prompt_help(own: Callable[[], Any], work: Callable[[], Any], helpers: int, wait: bool = False) -> None:
    """`threads.with_help`, where helpers take part in short work too: one begins first, and all are waited for."""
    begun = threading.Event()

    def begin() -> None:
        if helpers:
            begun.wait(1.0)
            time.sleep(0.0003)
        own()

    def help_out() -> None:
        begun.set()
        work()

    _with_help(begin, help_out, helpers, wait=True)


@contextlib.contextmanager
def shrunk(
    workers: int | None = None,
    *,
    per_thread: int = 1000,
    per_call: int = 300_000,
    units_of_two: int = 33,
    patience: int | None = None,
    between: int | None = None,
    at_once: int | None = None,
    prompt: bool = False,
) -> Iterator[None]:
    """Shrink the thresholds of the CPU's policy, so that small cases are cut and shared in every way.

    workers: threads; None: as many as the machine has. per_thread: multiplications that are worth a thread, here and in
    sessions. per_call: multiplications of a kernel call. units_of_two: units from which on two threads share a cell's
    units. patience: `policy.PATIENCE`. between: bytes of outputs between stacked layers. at_once: bytes of rows of
    unequal lengths that are copied at once. prompt: helpers are there from the beginning.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(policy, "WORK_PER_THREAD", per_thread)
        patch.setattr(policy, "WORK_PER_THREAD_OF_A_SESSION", per_thread)
        patch.setattr(policy, "WORK_PER_CALL", per_call)
        patch.setattr(policy, "LEAST_UNITS_OF_TWO", units_of_two)
        patch.setattr(policy, "WORK_OF_TWO", 0)
        patch.setattr(policy, "WORK_PER_HANDOVER", 10 * per_thread)
        patch.setattr(policy, "WORK_PER_WAVEFRONT", 0)
        patch.setattr(threads, "crowded", lambda: False)
        if prompt:
            patch.setattr(threads, "with_help", with_prompt_help)
        for module, name, value in (
            (policy, "PATIENCE", patience),
            (policy, "BYTES_BETWEEN", between),
            (ragged, "BYTES_AT_ONCE", at_once),
            (threads, "_number", workers),
        ):
            if value is not None:
                patch.setattr(module, name, value)
        yield
