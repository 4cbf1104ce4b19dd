"""The loop over the stages of a run."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from numba_lstm.runner.plan import chunks
from numba_lstm.runner.stages import Chunk, OneThread, Result, drive


class _Stages:
    """Stages that only keep a record."""

    rows, timesteps = 6, 1

    def __init__(self) -> None:
        self.log: list[str] = []

    def read(self, start: int, stop: int, empty: Any = np.empty) -> Chunk:
        self.log.append(f"read {start}")
        return Chunk(start, stop, np.zeros((stop - start, 1, 1)), None, None)

    def compute(self, chunk: Chunk) -> Result:
        assert threading.current_thread() is not threading.main_thread()
        return Result(chunk.start, chunk.stop, (chunk.inputs,), None)

    def write(self, result: Result) -> None:
        self.log.append(f"write {result.start}")

    def commit(self) -> None:
        self.log.append("commit")

    def discard(self) -> None:
        self.log.append("discard")


def test_the_next_chunk_is_read_before_the_last_is_written() -> None:
    stages = _Stages()
    drive(stages, OneThread(stages.compute), stages, chunks(0, 6, 2), lambda _: None)
    assert stages.log == ["read 0", "read 2", "write 0", "read 4", "write 2", "write 4", "commit"]


@pytest.mark.parametrize("stage", ["read", "compute", "write", "commit", "progress"])
@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failure_anywhere_discards(stage: str, error: type[BaseException], monkeypatch: pytest.MonkeyPatch) -> None:
    stages = _Stages()

    def fail(*_: Any) -> Any:
        raise error("no")

    progress: Callable[[int], None] = lambda _: None  # noqa: E731
    if stage == "progress":
        progress = fail
    else:
        monkeypatch.setattr(stages, stage, fail)
    with pytest.raises(error, match="no"):
        drive(stages, OneThread(stages.compute), stages, chunks(0, 6, 2), progress)
    assert stages.log[-1] == "discard"
    assert "commit" not in stages.log


def test_an_interrupt_does_not_wait_for_the_kernel() -> None:
    """As when Ctrl-C comes while the compute stage is busy: the caller has the exception at once."""
    stages, begun, busy, ended = _Stages(), threading.Event(), threading.Event(), threading.Event()

    def compute(chunk: Chunk) -> Result:
        begun.set()
        busy.wait(30)
        ended.set()
        return stages.compute(chunk)

    def interrupted() -> Iterator[tuple[int, int]]:
        yield 0, 2
        assert begun.wait(30)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        drive(stages, OneThread(compute), stages, interrupted(), lambda _: None)
    assert not ended.is_set()
    busy.set()
    assert ended.wait(30)
    assert stages.log == ["read 0", "discard"]
