"""safetensors files and PyTorch state dicts made by hand, without the package's own writer."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from numba_lstm.formats.pickled import LEGACY_TORCH

U, D = 4, 3
NAMES = {"<f8": "F64", "<f4": "F32", "<f2": "F16", "<i4": "I32", "|b1": "BOOL"}


def lstm_arrays(
    prefix: str = "", layers: int = 1, bidirectional: bool = False, bias: bool = True, dtype: str = "float32"
) -> dict[str, NDArray[Any]]:
    """The state dict of an nn.LSTM of 4 units for inputs of 3."""
    rng = np.random.default_rng(3)
    found = {}
    for layer in range(layers):
        for end in ["", "_reverse"][: 1 + bidirectional]:
            width = D if layer == 0 else U * (1 + bidirectional)
            shapes: dict[str, tuple[int, ...]] = {"weight_ih": (4 * U, width), "weight_hh": (4 * U, U)}
            shapes |= {"bias_ih": (4 * U,), "bias_hh": (4 * U,)} if bias else {}
            for kind, shape in shapes.items():
                found[f"{prefix}{kind}_l{layer}{end}"] = rng.standard_normal(shape).astype(dtype)
    return found


def linear_arrays(name: str = "fc", width: int = U, bias: bool = True) -> dict[str, NDArray[Any]]:
    rng = np.random.default_rng(4)
    found = {f"{name}.weight": rng.standard_normal((2, width)).astype("f")}
    return found | ({f"{name}.bias": rng.standard_normal(2).astype("f")} if bias else {})


def safetensors_bytes(header: Any, data: bytes) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def write_tensors(path: Path, arrays: Mapping[str, NDArray[Any]], metadata: Mapping[str, str] | None = None) -> Path:
    header: dict[str, Any] = {} if metadata is None else {"__metadata__": metadata}
    data = b""
    for name, array in arrays.items():
        offsets = [len(data), len(data) + array.nbytes]
        header[name] = {"dtype": NAMES[array.dtype.str], "shape": list(array.shape), "data_offsets": offsets}
        data += array.tobytes()
    path.write_bytes(safetensors_bytes(header, data))
    return path


# What the worker uses of torch, on NumPy arrays; `load` executes a Python file, which the tests write.
FAKE_TORCH = """
import numpy as np
strided = "strided"
float64, float32, float16, bfloat16 = "f8", "f4", "f2", "bf16"
int64, int32, int16, int8, uint8, bool = "i8", "i4", "i2", "i1", "u1", "?"
__version__ = "0.0"
class Tensor:
    layout = strided
    def __init__(self, array, dtype=None):
        self.array, self.shape = array, array.shape
        self.dtype = dtype or array.dtype.str[1:]
    def detach(self): return self
    def numel(self): return self.array.size
    def element_size(self): return self.array.itemsize
    def contiguous(self): return Tensor(np.ascontiguousarray(self.array))
    def reshape(self, n): return Tensor(self.array.reshape(n))
    def view(self, dtype): return Tensor(self.array.view(dtype))
    def numpy(self): return self.array
def set_num_threads(n): pass
def load(path, map_location, weights_only):
    assert (map_location, weights_only) == ("cpu", True)
    space = {"Tensor": Tensor, "np": np}
    with open(path, "rb") as file:
        exec(file.read().partition(b"\x19.")[2], space)
    return space["loaded"]
"""


def pickled(folder: Path, code: str, arrays: Any = None, name: str = "m.pt") -> Path:
    """A file that `FAKE_TORCH` executes: `code` makes ``loaded`` of the tensors in ``arrays``."""
    np.savez(folder / "arrays.npz", **(arrays or lstm_arrays()))
    begin = f"arrays = {{k: Tensor(v) for k, v in np.load({str(folder / 'arrays.npz')!r}).items()}}\n"
    # A file of weights is at least as large as they are; a comment stands in for the bytes.
    text = begin + textwrap.dedent(code) + "\n#" + "x" * 4000
    (folder / name).write_bytes(LEGACY_TORCH + text.encode())
    return folder / name
