"""Run by a Python that has PyTorch: load a state dict into nn.LSTM (and Linear), write its outputs.

The layout is read by hand, so that the package safetensors need not be there. Arguments: the file, x.npy, y.npy, and
the arguments of nn.LSTM as JSON, with "linear" for the Linear's outputs (0: none) and "last" for the last output alone.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def read_tensors(path: str) -> dict[str, NDArray[Any]]:
    """8 bytes with the header's length, the header, the numbers."""
    content = Path(path).read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    arrays = {}
    for name, entry in json.loads(content[8:start]).items():
        if name != "__metadata__":
            begin, end = entry["data_offsets"]
            numbers = np.frombuffer(content[start + begin : start + end], {"F32": "<f4", "F64": "<f8"}[entry["dtype"]])
            arrays[name] = numbers.reshape(entry["shape"]).copy()
    return arrays


def main(path: str, x: str, y: str, words: str) -> None:
    import torch

    options = json.loads(words)
    linear, last, dtype = options.pop("linear"), options.pop("last"), getattr(torch, options.pop("dtype"))
    net = torch.nn.Module()
    net.lstm = torch.nn.LSTM(batch_first=True, dtype=dtype, **options)
    if linear:
        net.fc = torch.nn.Linear(options["hidden_size"] * (1 + net.lstm.bidirectional), linear, dtype=dtype)
    state = {name: torch.from_numpy(array) for name, array in read_tensors(path).items()}
    (net if linear else net.lstm).load_state_dict(state, strict=True)
    with torch.no_grad():
        outputs, (h, _) = net.lstm(torch.from_numpy(np.load(x)))
        if last:
            outputs = torch.cat([h[-2], h[-1]], dim=-1) if net.lstm.bidirectional else h[-1]
        np.save(y, (net.fc(outputs) if linear else outputs).numpy())


if __name__ == "__main__":
    main(*sys.argv[1:])
