"""safetensors files and PyTorch state dicts made by hand, without the package's own writer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
