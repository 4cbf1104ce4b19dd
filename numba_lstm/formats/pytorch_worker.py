"""Run by `numba_lstm.formats.pytorch` as a separate program: reads a file with torch, writes its tensors to stdout.

Arguments: the parent's sys.path as JSON, the file, the seconds and the bytes that it may take. Output: a line of JSON
once torch is there; then one that names the tensors as a safetensors header does, or the error; then their bytes. It
imports nothing of this package.
"""

from __future__ import annotations

import json
import math
import os
import re
import sys
import time
from collections.abc import Mapping
from typing import IO, Any

_DEEPEST = 16
_MOST_VALUES = 1_000_000  # that are looked at, those of lists included
_MOST_TENSORS = 10_000
_MOST_NAMES = 100  # of what is beside the weights
_TO_STATE_DICT = "save it with torch.save(model.state_dict(), 'model.pt')"
# As PyTorch 2.0 to 2.13 put it: "GLOBAL a.b", "Unsupported class a.b", "function a.b".
_GLOBAL = re.compile(r"\b(?:GLOBAL|[Uu]nsupported class|function) ([\w.]+\.\w+)")


class _ProblemError(Exception):
    """A problem with the file, in words for its user."""


def main(path: str, seconds: float, memory: int, output: IO[bytes]) -> None:
    """Read the file at `path` and write what it holds."""
    try:
        import torch
    except Exception as error:  # a broken installation may raise anything
        _say(output, {"error": f"{type(error).__name__}: {error}"})
        return
    torch.set_num_threads(1)
    _limit(seconds, memory)
    _say(output, {"version": str(torch.__version__)})
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # the loader meets hostile bytes with any exception at all
        _say(output, {"error": type(error).__name__, "object": _refused_object(str(error))})
        return
    try:
        place, tensors, others = _find(loaded, torch)
        entries, flat = _described(tensors, torch, os.path.getsize(path))
    except _ProblemError as error:
        _say(output, {"problem": str(error)[:500]})
        return
    except Exception as error:  # torch's words are for those who call torch
        _say(output, {"problem": f"is no state dict, for reading its tensors ends in a {type(error).__name__}"})
        return
    sizes = sum(one.nbytes for one in flat)
    _say(output, {"place": place, "bytes": sizes, "tensors": entries, "others": others})
    for one in flat:
        output.write(one.data)
    output.flush()


def _refused_object(text: str) -> str | None:
    """The function or class that an error of the weights_only loader names; the rest of it is advice to trust files."""
    match = _GLOBAL.search(text)
    return match[1][:100] if match else None


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


def _find(loaded: Any, torch: Any) -> tuple[str, dict[str, Any], list[str]]:
    """All tensors in `loaded` by their names, the place of the mapping that holds them, and what is beside them.

    Names begin behind that place; those of tensors in mappings within it are joined by dots. Only what training alone
    needs is beside: the state of optimizers and random generators, numbers and texts. Raises `_ProblemError`.
    """
    walk = _Walk(torch)
    walk.visit(loaded, ())
    homes = dict.fromkeys(path[:-1] for path in walk.tensors if "weight_ih" in path[-1])
    if not homes:
        raise _ProblemError(f"holds a {type(loaded).__name__} without an LSTM; {_TO_STATE_DICT}")
    if len(homes) > 1:
        held = [".".join(home)[:60] for home in homes]
        keys = "".join(f"[{key[:60]!r}]" for key in max(homes, key=len))
        raise _ProblemError(
            f"holds {len(homes)} state dicts with an LSTM in it, at {held[:8]}; expected one; save the one that is "
            f"wanted alone, as torch.save(checkpoint{keys}, 'model.pt')"
        )
    common = next(iter(homes))
    while any(path[: len(common)] != common for path in walk.tensors):
        common = common[:-1]
    named = {".".join(path[len(common) :]): tensor for path, tensor in walk.tensors.items()}
    if len(named) < len(walk.tensors):
        raise _ProblemError(f"holds several tensors of one name, such as a.b.c and c in a.b; {_TO_STATE_DICT}")
    return ".".join(common), named, [".".join(path)[:60] for path in walk.beside[:_MOST_NAMES]]


class _Walk:
    """A walk through all that a file holds: mappings, lists and tuples, however they are nested."""

    def __init__(self, torch: Any) -> None:
        self._torch = torch
        self._left = _MOST_VALUES
        self.tensors: dict[tuple[str, ...], Any] = {}
        self.beside: list[tuple[str, ...]] = []  # the largest parts without a tensor that counts

    def visit(self, value: Any, path: tuple[str, ...]) -> bool:
        """Take the tensors in `value`; gives whether there were any that count."""
        if isinstance(value, Mapping):
            parts = [(str(key), part) for key, part in value.items() if not _is_of_optimizer(value, key)]
        elif isinstance(value, list | tuple):
            parts = [(str(number), part) for number, part in enumerate(value)]
        else:
            return False
        self._left -= len(parts)
        if self._left < 0 or len(path) > _DEEPEST:
            raise _ProblemError(f"holds too many values or too deep ones; {_TO_STATE_DICT}")
        # A number beside weights is one of them; among its like it is a loss or a counter.
        has_weights = any(self._counts(part, (*path, key)) and len(part.shape) for key, part in parts)
        empty = []
        for key, part in parts:
            place = (*path, key)
            if isinstance(part, self._torch.Tensor):
                found = has_weights and self._counts(part, place)
                if found and place in self.tensors:
                    raise _ProblemError(f"holds several tensors of one name, such as 1 and '1'; {_TO_STATE_DICT}")
                if found:
                    self.tensors[place] = part
            else:
                found = self.visit(part, place)
            empty += [] if found else [place]
        if len(empty) == len(parts):
            return False
        self.beside += empty
        return True

    def _counts(self, value: Any, place: tuple[str, ...]) -> bool:
        """Whether it is a tensor, and not the state of a generator of random numbers."""
        if not isinstance(value, self._torch.Tensor):
            return False
        return value.dtype != self._torch.uint8 or not any("rng" in key.lower() for key in place)


def _is_of_optimizer(value: Mapping[Any, Any], key: Any) -> bool:
    """Whether `value` is what an optimizer's state_dict gives, and `key` a part of it."""
    return key in ("state", "param_groups") and "state" in value and isinstance(value.get("param_groups"), list)


def _described(tensors: Mapping[str, Any], torch: Any, size: int) -> tuple[dict[str, Any], list[Any]]:
    """The header's entries and flat NumPy arrays of bytes. Raises `_ProblemError` for tensors larger than the file."""
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
        raise _ProblemError(f"holds {len(tensors)} tensors; expected at most {_MOST_TENSORS}")
    entries, flat, position = {}, [], 0
    for key, tensor in tensors.items():
        tensor = tensor.detach()
        if tensor.dtype not in names or tensor.layout != torch.strided:
            kind = f"{tensor.dtype}, {tensor.layout}"
            raise _ProblemError(f"holds {key[:60]!r} as {kind}; expected dense floats or integers")
        end = position + tensor.numel() * tensor.element_size()
        if end > size:  # several views of one storage, or one that repeats itself
            raise _ProblemError(f"holds {key[:60]!r}, which is larger than the file; {_TO_STATE_DICT}")
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
