"""PyTorch state dicts: the arrays of one nn.LSTM, and of a Linear behind it, as a chain of layers.

PyTorch has the gates in Keras's order (i, f, g, o), its matrices transposed - weight_ih (4*units, input_dim), weight_hh
(4*units, units) - and two biases, which are added up. A state dict does not record how the arrays are used: the
notes of the model list the assumptions. Source: the documentation of ``torch.nn.LSTM``, "Variables".
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from numba_lstm.checks import shown
from numba_lstm.errors import FileFormatError
from numba_lstm.formats.stored import StoredArray, StoredModel
from numba_lstm.layers import Bidirectional
from numba_lstm.model import Sequential

# nn.LSTM numbers its layers; nn.LSTMCell has one, without a number.
_KEY = re.compile(
    r"(?:(.*)\.)?(weight_ih|weight_hh|bias_ih|bias_hh|weight_hr)(?:_l([0-9]{1,3})(_reverse)?)?", re.DOTALL
)
_FOUR = {"weight_ih", "weight_hh", "bias_ih", "bias_hh"}
_STRIP = 128  # rows of a matrix that is transposed
_MOST_NAMES = 12  # in a message
_REMEDY = "expected one nn.LSTM and at most one Linear behind it"


class _Place(NamedTuple):
    """The place of an array in an nn.LSTM."""

    prefix: str
    layer: int
    reverse: bool


class _Linear(NamedTuple):
    name: str
    weight: StoredArray
    bias: StoredArray | None


class _Network(NamedTuple):
    """An nn.LSTM: for each layer one or two directions, each the arrays by their names; and what is behind it."""

    name: str
    is_cell: bool  # an nn.LSTMCell
    layers: list[list[dict[str, StoredArray]]]
    units: int
    linear: _Linear | None

    @property
    def use_bias(self) -> bool:
        return "bias_ih" in self.layers[0][0]

    @property
    def bidirectional(self) -> bool:
        return len(self.layers[0]) == 2


def holds_lstm(keys: Iterable[str]) -> bool:
    """Whether one of these names is that of an array of an nn.LSTM (or another of PyTorch's recurrent modules)."""
    return any(match[2] == "weight_ih" for match in map(_KEY.fullmatch, keys) if match)


def read_state_dict(arrays: Sequence[StoredArray], name: str, format: str, producer: str) -> StoredModel:
    """The stored model that the arrays of a state dict make.

    Raises `FileFormatError` for other modules, several LSTMs, projections (proj_size) and shapes that do not fit.
    """
    network = _find(arrays, name)
    return StoredModel(
        format=format,
        producer=producer,
        arrays=lambda: list(arrays),
        match=lambda model: _match(model, network, name),
        config={"class_name": "Sequential", "config": {"layers": _entries(network)}},
        config_name=name,
        dialect="tf1",
        dialect_from="a state dict has none: tanh and sigmoid are the same in all",
        assumptions=_assumptions(network),
    )


def _find(arrays: Sequence[StoredArray], name: str) -> _Network:
    places: dict[_Place, dict[str, StoredArray]] = {}
    others = []
    numbered = set()
    for array in arrays:
        match = _KEY.fullmatch(array.name)
        if not match:
            others.append(array)
            continue
        prefix, kind, layer, reverse = match.groups()
        numbered.add(layer is not None)
        places.setdefault(_Place(prefix or "", int(layer or 0), bool(reverse)), {})[kind] = array
    prefixes = sorted({place.prefix for place in places})
    if not places:
        raise FileFormatError(
            f"{name} holds {_listed(arrays)}; expected weight_ih_l0, weight_hh_l0 and so on, those of an nn.LSTM"
        )
    if len(prefixes) > 1 or len(numbered) > 1:
        raise FileFormatError(f"{name} holds the LSTMs {listed(prefixes)}; {_REMEDY}; save the state dict of one alone")
    for place, kinds in places.items():
        if "weight_hr" in kinds:
            raise FileFormatError(
                f"{name}: {shown(kinds['weight_hr'].name)} is a projection (proj_size), which is not supported; "
                "expected an nn.LSTM without proj_size"
            )
        if kinds.keys() not in (_FOUR, {"weight_ih", "weight_hh"}):
            held = shown(sorted(array.name for array in kinds.values()))
            raise FileFormatError(f"{name} holds {held} for layer {place.layer}; expected weights and both biases")
    ordered = sorted(places)
    directions = 2 if any(place.reverse for place in places) else 1
    count = len(ordered) // directions
    if ordered != [_Place(prefixes[0], k, bool(d)) for k in range(count) for d in range(directions)]:
        held = shown([f"l{place.layer}{'_reverse' * place.reverse}" for place in ordered])
        raise FileFormatError(f"{name} holds the layers {held} of an nn.LSTM; expected l0, l1 and so on, none left out")
    layers = [[places[place] for place in ordered[k : k + directions]] for k in range(0, len(ordered), directions)]
    units = _check_shapes(layers, name)
    linear = _find_linear(others, directions * units, name)
    return _Network(prefixes[0] or "the LSTM", numbered == {False}, layers, units, linear)


def _check_shapes(layers: list[list[dict[str, StoredArray]]], name: str) -> int:
    """The units, if all arrays have the shapes of one nn.LSTM; what is in a GRU or another RNN has not."""
    first = layers[0][0]["weight_hh"].shape
    units = first[1] if len(first) == 2 else 0
    width = layers[0][0]["weight_ih"].shape[-1:]
    biased = "bias_ih" in layers[0][0]
    for number, directions in enumerate(layers):
        for arrays in directions:
            expected = {"weight_ih": (4 * units, *width), "weight_hh": (4 * units, units)}
            expected |= {"bias_ih": (4 * units,), "bias_hh": (4 * units,)} if biased else {}
            if arrays.keys() != expected.keys():
                raise FileFormatError(f"{name} has biases in some layers of its LSTM only; expected all or none")
            for kind, shape in expected.items():
                if arrays[kind].shape != shape or not units:
                    hint = "; it is a GRU's" if first == (3 * units, units) and units else ""
                    raise FileFormatError(
                        f"{name}: {shown(arrays[kind].name)} has shape {shown(arrays[kind].shape)}; expected "
                        f"{shown(shape)} in layer {number} of an nn.LSTM of {units} units{hint}"
                    )
        width = (len(directions) * units,)
    return units


def _find_linear(others: Sequence[StoredArray], width: int, name: str) -> _Linear | None:
    if not others:
        return None
    by_name = {array.name: array for array in others}
    weight = next((array for array in others if array.name.rpartition(".")[2] == "weight"), None)
    if weight is not None:
        place = weight.name.removesuffix("weight")
        if by_name.keys() <= {f"{place}weight", f"{place}bias"} and len(weight.shape) == 2:
            bias = by_name.get(f"{place}bias")
            if weight.shape[1] == width and (bias is None or bias.shape == weight.shape[:1]):
                return _Linear(place.removesuffix(".") or "the Linear", weight, bias)
    raise FileFormatError(
        f"{name} holds {_listed(others)} beside its LSTM, which gives {width} features; {_REMEDY}; "
        "save the state dict of these alone, or export the model to ONNX, which says how its parts are joined"
    )


def _listed(arrays: Sequence[StoredArray]) -> str:
    """The arrays with their shapes; of many, the modules that they belong to."""
    if len(arrays) <= 6:
        return shown([f"{array.name} {array.shape}" for array in arrays])
    modules = dict.fromkeys(array.name.rpartition(".")[0] or array.name for array in arrays)
    return f"{len(arrays)} arrays of {listed(list(modules))}"


def listed(names: Sequence[str]) -> str:
    """Names for a message, all of them unless they are very many."""
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return ", ".join(map(shown, names[:_MOST_NAMES])) + more


def _entries(network: _Network) -> list[dict[str, Any]]:
    """The layers as entries of a configuration."""
    entries = []
    for number in range(len(network.layers)):
        config = {
            "units": network.units,
            "activation": "tanh",
            "recurrent_activation": "sigmoid",
            "use_bias": network.use_bias,
            "return_sequences": network.linear is None or number < len(network.layers) - 1,
        }
        entry: dict[str, Any] = {"class_name": "LSTM", "config": config}
        entries.append({"class_name": "Bidirectional", "config": {"layer": entry}} if network.bidirectional else entry)
    if network.linear is not None:
        config = {"units": network.linear.weight.shape[0], "use_bias": network.linear.bias is not None}
        entries.append({"class_name": "Dense", "config": config})
    return entries


def _assumptions(network: _Network) -> list[str]:
    """The assumptions made where a state dict is silent, one sentence each."""
    lstm = shown(network.name) if network.name != "the LSTM" else network.name
    notes = ["a state dict does not say batch_first: inputs are taken as (batch, timesteps, input_dim)"]
    if network.is_cell:
        notes.append(f"nor how an nn.LSTMCell is called: {lstm} takes all timesteps in order, from states of zeros")
    if network.linear is None:
        joined = ", those of both directions joined at each timestep" if network.bidirectional else ""
        notes.append(
            f"a state dict does not say what is done with the outputs of {lstm}: all of them are given, as nn.LSTM "
            f"gives them{joined}, with no activation, pooling or dropout behind"
        )
        return notes
    linear, weight = shown(network.linear.name), network.linear.weight
    each = " of each direction" if network.bidirectional else ""
    ends = ", forward's at the last timestep joined with backward's at the first, which is not out[:, -1]"
    input_dim = network.layers[0][0]["weight_ih"].shape[1]
    # As a Linear, or as the table of an Embedding.
    in_front = weight.shape[0] == input_dim or (network.linear.bias is None and weight.shape[1] == input_dim)
    notes.append(
        f"a state dict does not say what is between {lstm} and {linear}: {linear} is taken for a Linear behind the "
        f"last output{each} of {lstm}{ends if each else ''}, with no activation, pooling or dropout between or behind"
        f"{f'; by its shape it might stand in front of {lstm}, too' if in_front else ''}; an ONNX export says it"
    )
    return notes


def _match(model: Sequential, network: _Network, name: str) -> list[StoredArray]:
    """Arrays in the order of the model's weights, which need not be the model that was assumed."""
    found: list[StoredArray] = []
    kinds: list[str] = []
    for directions in network.layers:
        for arrays in directions:
            found += [transposed(arrays["weight_ih"]), transposed(arrays["weight_hh"])]
            kinds += ["kernel", "recurrent_kernel"]
            if network.use_bias:
                found.append(_added(arrays["bias_ih"], arrays["bias_hh"]))
                kinds.append("bias")
    if network.linear is not None:
        found += [transposed(network.linear.weight), *([network.linear.bias] if network.linear.bias else [])]
        kinds += ["kernel", "bias"][: 1 + (network.linear.bias is not None)]
    expected = [weight.rpartition("/")[2] for weight in model.weight_names()]
    if kinds != expected:
        raise FileFormatError(
            f"{name} holds {len(kinds)} weights, {shown(kinds)}; expected {shown(model.weight_names())}, those of the "
            "configuration"
        )
    of_model = {len(layer.cells) if isinstance(layer, Bidirectional) else 1 for layer in model.recurrent_layers}
    if of_model - {1 + network.bidirectional}:
        raise FileFormatError(
            f"{name} holds an LSTM in {'both directions' if network.bidirectional else 'one direction'}; the "
            "configuration describes another; give the configuration of the model that was saved"
        )
    return found


def transposed(array: StoredArray) -> StoredArray:
    """The same matrix with its axes in Keras's order."""
    read = array.read_transposed or (lambda: _turned(array.read()))
    return StoredArray(array.name, array.shape[::-1], array.dtype, f"{array.where}, transposed", read, array.kind)


def _turned(matrix: NDArray[Any]) -> NDArray[Any]:
    """The transpose, C-ordered: in strips, which is several times as fast as NumPy's own way."""
    turned = np.empty(matrix.shape[::-1], matrix.dtype)
    for first in range(0, len(matrix), _STRIP):
        turned[:, first : first + _STRIP] = matrix[first : first + _STRIP].T
    return turned


def _added(first: StoredArray, second: StoredArray) -> StoredArray:
    dtype = max(first.dtype, second.dtype, key=lambda one: one.itemsize)

    def read() -> NDArray[Any]:
        one, other = first.read(), second.read()
        with np.errstate(over="ignore", invalid="ignore"):  # of a file with infinities, as PyTorch adds them
            total: NDArray[Any] = np.add(one, other, dtype=np.result_type(one, other, np.float32))
        return total

    where = f"{first.where} + {second.where.rpartition('.')[2]}"
    return StoredArray(first.name, first.shape, dtype, where, read, first.kind)


def keys_of(prefix: str, layer: int, reverse: bool) -> Collection[str]:
    """The names of the four arrays of a layer and direction, in the order of ``nn.LSTM.state_dict``."""
    end = f"_l{layer}{'_reverse' * reverse}"
    return [f"{prefix}{kind}{end}" for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
