"""Run by `numba_lstm.formats.pytorch` as a program of its own: reads a file with torch, writes its tensors to stdout.

Arguments: the parent's sys.path as JSON, the file, the seconds and the bytes that it may take. Output: a line of JSON
once torch is there; then one that names the tensors as a safetensors header does, or the error; then their bytes. Of
this package it imports nothing.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Iterator, Mapping
from typing import IO, Any

_DEEPEST = 3
_MOST_TENSORS = 10_000


def main(path: str, seconds: float, memory: int, output: IO[bytes]) -> None:
    """Read the file at `path` and write what it holds."""
    try:
        import torch
    except Exception as error:  # whatever an installation that is broken may raise
        _say(output, {"error": f"{type(error).__name__}: {error}"})
        return
    torch.set_num_threads(1)
    _limit(seconds, memory)
    _say(output, {"version": str(torch.__version__)})
    try:
        place, tensors = _find(torch.load(path, map_location="cpu", weights_only=True), torch.Tensor)
        entries, flat = _described(tensors, torch, os.path.getsize(path))
    except Exception as error:  # the loader meets hostile bytes with any exception at all
        text = str(error).strip().partition("\n")[0]
        _say(output, {"error": f"{type(error).__name__}: {text[:200]}"})
        return
    _say(output, {"place": place, "bytes": sum(one.nbytes for one in flat), "tensors": entries})
    for one in flat:
        output.write(one.data)
    output.flush()


def _limit(seconds: float, memory: int) -> None:
    """Let the process run for `seconds` and grow by `memory` bytes and no more, where the system has such limits."""
    try:
        import resource

        with open("/proc/self/statm") as file:
            size = int(file.read().split()[0]) * resource.getpagesize()
    except (ImportError, OSError):
        return
    wanted = {resource.RLIMIT_AS: size + memory, resource.RLIMIT_CPU: math.ceil(time.process_time() + seconds)}
    for kind, limit in wanted.items():
        _, hard = resource.getrlimit(kind)
        if hard == resource.RLIM_INFINITY or hard > limit:
            resource.setrlimit(kind, (limit, hard))


def _find(loaded: Any, tensor: type) -> tuple[str, dict[str, Any]]:
    """The one mapping of names to tensors in `loaded`, and where it is. Raises `ValueError`."""
    found = list(_mappings(loaded, tensor, "", 0))
    with_lstm = [one for one in found if any("weight_ih" in key for key in one[1])]
    if len(with_lstm) != 1:
        held = f"{len(with_lstm)} state dicts with an LSTM in it, at {[place for place, _ in with_lstm]}"
        raise ValueError(f"it holds {held if with_lstm else f'a {type(loaded).__name__} without an LSTM'}")
    return with_lstm[0]


def _mappings(value: Any, tensor: type, place: str, depth: int) -> Iterator[tuple[str, dict[str, Any]]]:
    if not isinstance(value, Mapping) or depth > _DEEPEST:
        return
    tensors = {key: one for key, one in value.items() if isinstance(key, str) and isinstance(one, tensor)}
    if tensors:
        yield place, tensors
    for key, inner in value.items():
        if isinstance(key, str):
            yield from _mappings(inner, tensor, f"{place}.{key}".lstrip("."), depth + 1)


def _described(tensors: Mapping[str, Any], torch: Any, size: int) -> tuple[dict[str, Any], list[Any]]:
    """The header's entries and flat NumPy arrays of bytes. Raises `ValueError` for tensors larger than the file."""
    names = {
        torch.float64: "F64",
        torch.float32: "F32",
        torch.float16: "F16",
        torch.bfloat16: "BF16",
        torch.int64: "I64",
        torch.int32: "I32",
        torch.int16: "I16",
        torch.int8: "I8",
        torch.uint8: "U8",
        torch.bool: "BOOL",
    }
    if len(tensors) > _MOST_TENSORS:
        raise ValueError(f"it holds {len(tensors)} tensors")
    entries, flat, position = {}, [], 0
    for key, tensor in tensors.items():
        tensor = tensor.detach()
        if tensor.dtype not in names or tensor.layout != torch.strided:
            raise ValueError(f"{key} holds {tensor.dtype} in the layout {tensor.layout}")
        end = position + tensor.numel() * tensor.element_size()
        if end > size:  # several views of one storage, or one that repeats itself
            raise ValueError(f"{key} is larger than the file")
        entries[key] = {"dtype": names[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [position, end]}
        flat.append(tensor.contiguous().reshape(-1).view(torch.uint8).numpy())
        position = end
    return entries, flat


def _say(output: IO[bytes], what: Mapping[str, Any]) -> None:
    output.write(json.dumps(what).encode() + b"\n")
    output.flush()


if __name__ == "__main__":
    sys.path[:] = json.loads(sys.argv[1])
    # Libraries that print to stdout must not write between the numbers.
    own = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    main(sys.argv[2], float(sys.argv[3]), int(sys.argv[4]), own)
