"""PyTorch's .pt and .pth files, which are pickles: read by the user's own torch, in a separate process.

No pickle is loaded here. torch's ``weights_only`` loader is what PyTorch offers for files from strangers, but it is
compiled code that trusts some of the sizes in a file. So it runs in a child process with a limit on time and memory: if
it crashes there, that is one line here, and the 200 MB that torch takes are gone afterwards.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np

from numba_lstm.checks import shown
from numba_lstm.errors import FileFormatError, MissingPackageError
from numba_lstm.formats.regular import open_regular
from numba_lstm.formats.safetensors import TensorEntry, as_floats, check_header
from numba_lstm.formats.state_dict import listed, read_state_dict
from numba_lstm.formats.stored import StoredArray, StoredModel

_WORKER = Path(__file__).with_name("pytorch_worker.py")
_IMPORT_SECONDS = 120.0  # the first import of torch after an installation is slow
_SECONDS, _BYTES_PER_SECOND = 2.0, 50e6  # of the processor, for a file: so much, and for its size in addition
_PATIENCE = 15  # times as long by the clock, which a busy machine and a slow disk may take
_SPARE_BYTES = 150 * 10**6  # that torch may take for a file, beside three times the file's size
_ENDING_SECONDS = 10.0  # from the end of its output to that of the child
_LONGEST_LINE = 2**21

_TO_SAFETENSORS = (
    'where torch is installed, run: python -c "import torch, safetensors.torch as s; '
    "s.save_file(torch.load('model.pt', weights_only=True), 'model.safetensors')\" and load model.safetensors"
)
_TO_STATE_DICT = "save it with torch.save(model.state_dict(), 'model.pt')"


@contextmanager
def open_pt(path: str | os.PathLike[str]) -> Iterator[StoredModel]:
    """The model in a file of torch.save: a state dict, or a checkpoint with one in it.

    Raises `MissingPackageError` without torch, `FileFormatError` for what its weights_only loader refuses.
    """
    name = os.fspath(path)
    file, size = open_regular(path)
    file.close()
    if importlib.util.find_spec("torch") is None:
        raise MissingPackageError(
            f"{name} is a pickle, which only torch reads, and torch is not installed here; {_TO_SAFETENSORS}"
        )
    arrays, place, others = _load(name, size)
    found = read_state_dict(arrays, name, "PyTorch state dict", "PyTorch")
    if place:
        found.notes.append(f"the state dict is the one under {shown(place)}")
    if others:
        found.notes.append(f"what the file holds beside the weights is not used: {listed(others)}")
    yield found


def _load(name: str, size: int) -> tuple[list[StoredArray], str, list[str]]:
    """Have the file read by a child; its tensors, their key in a checkpoint, and the other content."""
    seconds, memory = _SECONDS + size / _BYTES_PER_SECOND, 3 * size + _SPARE_BYTES
    limits, late = [str(seconds), str(memory)], threading.Event()
    command = [sys.executable, "-I", str(_WORKER), json.dumps(sys.path), os.path.abspath(name), *limits]
    # What torch prints while it fails is no use to anybody.
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as child:
        try:
            assert child.stdout is not None
            with _killing(child, _IMPORT_SECONDS, late):
                ready = _line(child.stdout)
            if "version" not in ready:
                raise FileFormatError(f"{name} cannot be read: torch cannot be imported ({shown(ready.get('error'))})")
            with _killing(child, _PATIENCE * seconds, late):
                return _receive(child.stdout, name, size)
        except EOFError:
            raise FileFormatError(
                f"{name} is damaged or no state dict: torch {_end(child, late)}; {_TO_STATE_DICT}"
            ) from None
        finally:
            child.kill()


def _end(child: subprocess.Popen[bytes], late: threading.Event) -> str:
    if late.is_set():
        return "took too long to read it"
    try:
        code = child.wait(_ENDING_SECONDS)
    except subprocess.TimeoutExpired:
        return "broke off its answer"
    return f"ended while it read it (exit code {code})"


@contextmanager
def _killing(child: subprocess.Popen[bytes], seconds: float, late: threading.Event) -> Iterator[None]:
    """Kill the child and set `late` if this takes longer; a reader of its output then sees the end."""

    def kill() -> None:
        late.set()
        child.kill()

    timer = threading.Timer(seconds, kill)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _line(stream: IO[bytes]) -> dict[str, Any]:
    line = stream.readline(_LONGEST_LINE)
    if not line.endswith(b"\n"):
        raise EOFError
    answer: dict[str, Any] = json.loads(line)
    return answer


def _receive(stream: IO[bytes], name: str, size: int) -> tuple[list[StoredArray], str, list[str]]:
    answer = _line(stream)
    if "problem" in answer:
        raise FileFormatError(f"{name} {' '.join(str(answer['problem']).split())}")
    if "error" in answer:
        raise FileFormatError(f"{name} {_refusal(answer)}; {_TO_STATE_DICT}")
    total = int(answer["bytes"])
    _, tensors = check_header(json.dumps(answer["tensors"]).encode(), total, name)
    if total > size:
        raise FileFormatError(f"{name} would grow from {size} to {total} bytes of weights; {_TO_STATE_DICT}")
    arrays = [_received(stream, key, tensor) for key, tensor in tensors.items()]
    return arrays, str(answer["place"]), list(map(str, answer["others"]))


def _refusal(answer: dict[str, Any]) -> str:
    """The refusal of torch's loader, reworded: torch's own message is a page of advice with escape codes."""
    if not (held := answer.get("object")):
        return f"is damaged or no state dict: torch's weights_only loader ends in a {shown(answer['error'])}"
    what = "a NumPy array or number" if str(held).startswith("numpy.") else "an object"
    return f"holds {what} ({shown(held)}) beside tensors, which torch's weights_only loader refuses"


def _received(stream: IO[bytes], key: str, tensor: TensorEntry) -> StoredArray:
    items = np.empty(tensor.shape, tensor.dtype)
    buffer = items.reshape(-1).view(np.uint8).data if items.size else memoryview(bytearray())
    done = 0
    while done < len(buffer):
        count = stream.readinto(buffer[done:])  # type: ignore[attr-defined]
        if not count:
            raise EOFError
        done += count
    return StoredArray(key, tensor.shape, tensor.dtype, key, lambda: as_floats(items, tensor.kind), tensor.kind)
