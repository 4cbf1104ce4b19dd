"""A model as a PyTorch state dict in a safetensors file, for ``torch.nn.LSTM`` and a Linear behind it.

The arrays are named and laid out as ``nn.LSTM.state_dict`` has them; the configuration stands in the metadata, which
PyTorch ignores, so that `load` makes the same model of the file again. Layers that PyTorch's modules do not compute
are refused.
"""

from __future__ import annotations

import os

import numpy as np

from numba_lstm.cell import LSTMCell
from numba_lstm.checks import shown
from numba_lstm.errors import ConfigError
from numba_lstm.formats.own import document_of, weights_by_key
from numba_lstm.formats.safetensors import OWN_KEY, write_safetensors
from numba_lstm.formats.state_dict import keys_of
from numba_lstm.layers import RNN, Activation, Bidirectional, Dense, Dropout
from numba_lstm.layers.call import Array
from numba_lstm.layers.layer import Layer
from numba_lstm.model import Sequential
from numba_lstm.semantics.serialization import serialize_activation

# The names that the writer gives to the modules where there are two of them.
LSTM_PREFIX, LINEAR_PREFIX = "lstm.", "fc."


def save_state_dict(model: Sequential, path: str | os.PathLike[str], *, replace: bool = True) -> None:
    """Write a model; the file appears whole or not at all.

    One nn.LSTM by itself has bare names (``weight_ih_l0``); with a Linear behind it they are ``lstm.weight_ih_l0`` and
    ``fc.weight``. Raises `ConfigError`, naming the layer, for what these two do not compute.
    """
    weights_by_key(model)  # raises where there are none
    layers = [layer for layer in model.layers if not _does_nothing(layer)]
    dense = layers.pop() if layers and isinstance(layers[-1], Dense) else None
    steps = [directions for layer in layers for directions in _cells(layer)]
    if not steps:
        raise ConfigError(f"{model.name} has no LSTM; expected one or more, which a PyTorch state dict is written for")
    _check_alike(model, layers, steps)
    for layer in layers[:-1]:
        if not getattr(layer, "return_sequences", False):
            raise _refused(layer, "return_sequences=False before another LSTM")
    arrays: dict[str, Array] = {}
    prefix = "" if dense is None else LSTM_PREFIX
    for number, directions in enumerate(steps):
        for reverse, cell in enumerate(directions):
            _put_cell(arrays, cell, prefix, number, bool(reverse))
    if isinstance(dense, Dense):
        _put_dense(arrays, dense)
    metadata = {"format": "pt", OWN_KEY: document_of(model).decode()}
    write_safetensors(path, arrays, metadata, replace=replace)


def _does_nothing(layer: Layer) -> bool:
    """Whether PyTorch needs no module for the layer."""
    if isinstance(layer, Dropout):
        return layer.rate == 0
    return isinstance(layer, Activation) and serialize_activation(layer.activation, "activation") == "linear"


def _cells(layer: Layer) -> list[list[LSTMCell]]:
    """The cells of a layer, the lowest first, in one direction or in two."""
    if isinstance(layer, Bidirectional):
        if layer.merge_mode != "concat":
            raise _refused(layer, f"merge_mode={layer.merge_mode!r}")
        if len(layer.layer.cells) > 1 or len(layer.backward_layer.cells) > 1:
            raise _refused(layer, "a stack of cells in each direction")
        if layer.layer.go_backwards:
            raise _refused(layer, "a forward layer that goes backwards")
        _check_options(layer.layer)
        return [[layer.layer.cells[0], layer.backward_layer.cells[0]]]
    if not isinstance(layer, RNN):
        raise _refused(layer, f"the class {type(layer).__name__}")
    if layer.go_backwards:
        raise _refused(layer, "go_backwards=True")
    _check_options(layer)
    return [[cell] for cell in layer.cells]


def _check_options(layer: RNN) -> None:
    for option in ("return_state", "stateful", "time_major"):
        if getattr(layer, option):
            raise _refused(layer, f"{option}=True")


def _check_alike(model: Sequential, layers: list[Layer], steps: list[list[LSTMCell]]) -> None:
    """Raise unless all cells can be layers of one nn.LSTM."""
    first = steps[0][0]
    for layer in layers:
        cells = [cell for directions in _cells(layer) for cell in directions]
        for cell in cells:
            for argument, expected in (("activation", "tanh"), ("recurrent_activation", "sigmoid")):
                found = serialize_activation(getattr(cell, argument), argument)
                if found != expected:
                    raise _refused(layer, f"{argument}={found!r}", f"{expected!r}, the only one that nn.LSTM has")
            for rate in ("dropout", "recurrent_dropout"):
                if getattr(cell, rate):
                    raise _refused(layer, f"{rate}={getattr(cell, rate)}")
            if cell.units != first.units or cell.use_bias != first.use_bias:
                found = f"units={cell.units}, use_bias={cell.use_bias}"
                raise _refused(layer, found, f"units={first.units}, use_bias={first.use_bias} as in the layer below")
    if len({len(directions) for directions in steps}) > 1:
        raise ConfigError(
            f"{model.name} has LSTMs in one direction and in two, which a PyTorch state dict cannot express; expected "
            "all of one kind, as nn.LSTM has them; write a .npz or .safetensors file"
        )


def _refused(layer: Layer, what: str, expected: str = "LSTM layers and at most one linear Dense behind") -> ConfigError:
    return ConfigError(
        f"layer {shown(layer.name)} has {what}, which a PyTorch state dict cannot express; expected {expected}; "
        "write a .npz or .safetensors file"
    )


def _put_cell(arrays: dict[str, Array], cell: LSTMCell, prefix: str, number: int, reverse: bool) -> None:
    kernel, recurrent_kernel, *bias = cell.get_weights()
    weight_ih, weight_hh, bias_ih, bias_hh = keys_of(prefix, number, reverse)
    arrays[weight_ih], arrays[weight_hh] = kernel.T, recurrent_kernel.T
    if bias:
        # The sum with the other bias must be this one to the bit, and -0.0 + 0.0 is not -0.0.
        arrays[bias_ih], arrays[bias_hh] = bias[0], np.full_like(bias[0], -0.0)


def _put_dense(arrays: dict[str, Array], dense: Dense) -> None:
    activation = serialize_activation(dense.activation, "activation")
    if activation != "linear":
        raise _refused(dense, f"activation={activation!r}", "'linear', for a state dict holds a Linear's weights alone")
    kernel, *bias = dense.get_weights()
    arrays[f"{LINEAR_PREFIX}weight"] = kernel.T
    if bias:
        arrays[f"{LINEAR_PREFIX}bias"] = bias[0]
