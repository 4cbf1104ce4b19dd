"""Models with LSTM layers as PyTorch and tf2onnx export them to ONNX: made onnx_exports.npz.

usage: PYTHONPATH=tests python -m support.make_onnx_exports torch  (needs PyTorch 2.13 with onnx and onnxscript)
       PYTHONPATH=tests python -m support.make_onnx_exports tf
       (needs TensorFlow 2.15.1 with tf2onnx 1.17 and onnx 1.16)

Each model is stored as the bytes of its file, without what exporters write about where they ran, and with inputs and
the framework's own outputs. A second run adds to what is there. Nothing of this package is used.
"""

from __future__ import annotations

import io
import os
import sys
from typing import Any

import numpy as np

from support.paths import DATA

TARGET = DATA / "onnx_exports.npz"


def plain(content: bytes) -> np.ndarray[Any, Any]:
    """The model without comments and the like, which tell of folders."""
    import onnx

    model = onnx.load_from_string(content)
    model.graph.ClearField("value_info")
    for message in (model, model.graph, *model.graph.node):
        message.ClearField("metadata_props")
        message.ClearField("doc_string")
    return np.frombuffer(model.SerializeToString(), np.uint8)


def from_torch() -> dict[str, Any]:
    import torch
    from torch import nn

    class Net(nn.Module):
        def __init__(self, end: str, layers: int = 1, both: bool = False, batch_first: bool = True, head: bool = True):
            super().__init__()
            self.lstm = nn.LSTM(3, 4, layers, batch_first=batch_first, bidirectional=both)
            self.head = nn.Linear(8 if both else 4, 2) if head else None
            self.end = end

        def forward(self, x: Any, h: Any = None, c: Any = None) -> Any:
            y, (h, c) = self.lstm(x) if h is None else self.lstm(x, (h, c))
            if self.end == "last":
                y = y[:, -1]
            elif self.end == "h":
                y = torch.cat([h[-2], h[-1]], 1) if self.lstm.bidirectional else h[-1]
            y = y if self.head is None else torch.tanh(self.head(y))
            return (y, h, c) if self.end == "states" else y

    torch.manual_seed(2013)
    models = {
        "sequence": Net("all"),
        "last": Net("last"),
        "h": Net("h", layers=2),
        "both_last": Net("last", both=True),
        "both_h": Net("h", both=True),
        "timesteps_first": Net("all", layers=2, both=True, batch_first=False, head=False),
        "states": Net("states", layers=2, both=True, head=False),
    }
    stored: dict[str, Any] = {}
    for name, model in models.items():
        inputs = [torch.randn(2, 5, 3) if model.lstm.batch_first else torch.randn(5, 2, 3)]
        axes: list[dict[int, str]] = [{0: "batch", 1: "time"} if model.lstm.batch_first else {0: "time", 1: "batch"}]
        if model.end == "states":
            inputs += [torch.randn(4, 2, 4), torch.randn(4, 2, 4)]
            axes += [{1: "batch"}, {1: "batch"}]
        with torch.no_grad():
            outputs = model.eval()(*inputs)
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        for exporter in ("script", "dynamo"):
            key, buffer = f"torch_{exporter}_{name}", io.BytesIO()
            if exporter == "script":
                names = ["x", "h", "c"][: len(inputs)]
                dynamic = dict(zip(names, axes, strict=True))
                torch.onnx.export(model, tuple(inputs), buffer, dynamo=False, input_names=names, dynamic_axes=dynamic)
            else:
                # The number of timesteps is fixed: this exporter writes it into shapes in any case.
                batch = torch.export.Dim("batch")
                shapes = tuple({axis: batch for axis, word in one.items() if word == "batch"} for one in axes)
                program = torch.onnx.export(
                    model, tuple(inputs), dynamo=True, dynamic_shapes=shapes[:1] if len(shapes) == 1 else shapes
                )
                program.save(buffer)
            stored[f"{key}/file"] = plain(buffer.getvalue())
            stored |= {f"{key}/in{i}": value.numpy() for i, value in enumerate(inputs)}
            stored |= {f"{key}/out{i}": value.numpy() for i, value in enumerate(outputs)}
    return stored


def from_tensorflow() -> dict[str, Any]:
    os.environ["CUDA_VISIBLE_DEVICES"] = ""
    import tensorflow as tf
    import tf2onnx

    layers = tf.keras.layers
    models = {
        "sequence": [layers.LSTM(4, return_sequences=True), layers.TimeDistributed(layers.Dense(2, "relu"))],
        "last": [layers.LSTM(4, use_bias=False), layers.Dense(3, "softmax")],
        "both": [layers.Bidirectional(layers.LSTM(4, return_sequences=True)), layers.Dropout(0.5), layers.LSTM(2)],
        "both_last": [layers.Bidirectional(layers.LSTM(4)), layers.Dense(2)],
        "backwards": [layers.LSTM(4, go_backwards=True, return_sequences=True), layers.LSTM(2)],
    }
    tf.random.set_seed(2015)
    x = np.random.RandomState(2015).standard_normal((2, 5, 3)).astype(np.float32)
    stored: dict[str, Any] = {}
    for name, row in models.items():
        model = tf.keras.Sequential([tf.keras.Input((None, 3)), *row])
        exported, _ = tf2onnx.convert.from_keras(model, opset=15)
        stored |= {f"tf2onnx_{name}/file": plain(exported.SerializeToString()), f"tf2onnx_{name}/in0": x}
        stored[f"tf2onnx_{name}/out0"] = model(x).numpy()
    return stored


def main(system: str) -> None:
    before = dict(np.load(TARGET, allow_pickle=False)) if TARGET.exists() else {}
    made = {"torch": from_torch, "tf": from_tensorflow}[system]()
    np.savez_compressed(TARGET, **dict(sorted({**before, **made}.items())))


if __name__ == "__main__":
    main(sys.argv[1])
